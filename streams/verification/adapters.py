"""The online store as a verification sees it, on Redis."""

import struct
from collections.abc import Iterator, Sequence

from google.protobuf.message import DecodeError
from redis.exceptions import RedisError

from feature_repo.features import FEATURE_NAMES
from feature_repo.online import layout
from feature_repo.online.connections import AsyncClient
from feature_repo.online.reader import ClientSource, OnlineReader
from feature_repo.online.rows import OnlineWriter
from runtime.errors import UnknownStateVersion
from runtime.refusals import redis_failure
from streams.messages import Shard
from streams.verification.sides import Stored, Unreadable

_READ_AT_ONCE = 500
_SCAN_COUNT = 1000
_TORN = (ValueError, LookupError, struct.error, DecodeError, UnknownStateVersion)


class RedisSide:
    """See `OnlineSide`."""

    def __init__(self, client: AsyncClient, writer: OnlineWriter, project: str) -> None:
        self._client = client
        self._writer = writer
        self._reader = OnlineReader(ClientSource(client), project)
        self._project = project

    def watermark(self, shard: Shard) -> int | None:
        """As promised."""
        return self._writer.watermark(shard.topic, shard.partition)

    async def persons(self) -> set[str]:
        """As promised."""
        try:
            keys = self._client.scan_iter(match=layout.entity_key_pattern(self._project), count=_SCAN_COUNT)
            found = {layout.decode_entity_key(key, self._project) async for key in keys}
        except (RedisError, OSError) as error:
            raise redis_failure(error) from error
        return {person_id for person_id in found if person_id is not None}

    async def read(self, persons: Sequence[str]) -> list[Stored | None]:
        """As promised."""
        return [each for part in _parts(persons) for each in await self._read(part)]

    async def _read(self, persons: Sequence[str]) -> list[Stored | None]:
        """One torn value must not hide the others: then each is read alone."""
        try:
            return list(await self._reader.read(persons, FEATURE_NAMES, with_state=True))
        except _TORN as error:
            if len(persons) == 1:
                return [Unreadable(str(error))]
        return [each for person_id in persons for each in await self._read([person_id])]


def _parts(persons: Sequence[str]) -> Iterator[Sequence[str]]:
    return (persons[start : start + _READ_AT_ONCE] for start in range(0, len(persons), _READ_AT_ONCE))
