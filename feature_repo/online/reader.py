"""Reading the online store, for asyncio: rows of persons, in one round trip, from one server or a cluster.

Place in the flow: the predictor reads rows and states by person, a verification everything; `rows` writes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from redis.exceptions import RedisClusterException, RedisError

from feature_repo.online import layout
from feature_repo.online.connections import AsyncClient, names_a_cluster, open_async_client
from feature_repo.online.pipe import Pipe
from feature_repo.temporal import STATE_VERSION, PersonState
from runtime.clock import Clock, SystemClock
from runtime.errors import UnknownStateVersion
from runtime.refusals import redis_failure
from runtime.settings import Settings

_FAILURES = (RedisError, RedisClusterException, OSError)


def connect_async(settings: Settings) -> AsyncClient:
    """A client of redis-py for `settings.redis_url`; connects when first used."""
    return open_async_client(settings.redis_url.get_secret_value())


def open_hashes(settings: Settings) -> "HashSource":
    """The way to many hashes at once: one connection for all who ask; to a cluster, redis-py's own to each node."""
    url = settings.redis_url.get_secret_value()
    return ClientSource(open_async_client(url)) if names_a_cluster(url) else Pipe(url)


@dataclass(frozen=True)
class OnlineRow:
    """What is stored of a person: the features asked for, the record behind them (None: Feast wrote the row, by
    materialisation or push), the fold's state if asked for. The values of an expired row are None; its state is as stored.
    """

    values: Mapping[str, Any]
    event_timestamp: datetime
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    state: PersonState | None = None
    expired: bool = False


class HashSource(Protocol):
    """Where hashes are read: `Pipe`, or `ClientSource`. Its methods raise `Unavailable` if Redis does not answer."""

    async def hmget(self, keys: Sequence[bytes], fields: Sequence[bytes]) -> list[list[bytes | None]]:
        """The `fields` of each of `keys`, None for an absent one."""
        ...

    async def ping(self) -> None:
        """Ask for an answer."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class ClientSource:
    """Hashes through a client of redis-py: of a server, or of a cluster."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def hmget(self, keys: Sequence[bytes], fields: Sequence[bytes]) -> list[list[bytes | None]]:
        """As promised, in one round trip a node."""
        pipe = self._client.pipeline(transaction=False)
        for key in keys:
            pipe.hmget(key, list(fields))  # type: ignore[arg-type]  # keys are bytes
        try:
            found: list[list[bytes | None]] = await pipe.execute()
        except _FAILURES as error:
            raise redis_failure(error) from error
        return found

    async def ping(self) -> None:
        """As promised."""
        try:
            await self._client.ping()  # type: ignore[misc]  # typed for both kinds of client
        except _FAILURES as error:
            raise redis_failure(error) from error

    async def close(self) -> None:
        """As promised."""
        await self._client.aclose()


class OnlineReader:
    """Reads of one Feast project, for asyncio. With a `ttl`, rows older than it are `expired`; nothing is deleted."""

    def __init__(self, source: HashSource, project: str, *, ttl: timedelta | None = None, clock: Clock | None = None) -> None:
        self._source = source
        self._project = project
        self._ttl = ttl
        self._clock = clock or SystemClock()

    async def read(
        self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False
    ) -> list[OnlineRow | None]:
        """The rows of `person_ids`, in their order, None where nothing is stored; one round trip.

        Raises `KeyError` for a feature that is none, `UnknownStateVersion`, `Unavailable` if Redis does not answer.
        """
        fields = [layout.TIMESTAMP_FIELD, layout.ROW_FIELD, *([layout.STATE_FIELD] if with_state else [])]
        fields += [layout.FIELDS[name] for name in features]
        found = await self._source.hmget([layout.entity_key(person_id, self._project) for person_id in person_ids], fields)
        rows = [_online_row(values, features, with_state=with_state) for values in found]
        return rows if self._ttl is None else [self._hidden_if_old(row, self._clock.now() - self._ttl) for row in rows]

    @staticmethod
    def _hidden_if_old(row: OnlineRow | None, limit: datetime) -> OnlineRow | None:
        if row is None or row.event_timestamp >= limit:
            return row
        return replace(row, values=dict.fromkeys(row.values), expired=True)

    async def ping(self) -> None:
        """Raises `Unavailable` if Redis does not answer."""
        await self._source.ping()

    async def close(self) -> None:
        """Close the connections."""
        await self._source.close()


def decode_state(data: bytes) -> PersonState:
    """The state in `data`. Raises `UnknownStateVersion` if other code wrote it than this can continue."""
    if data[0] != STATE_VERSION:
        raise UnknownStateVersion(data[0], STATE_VERSION)
    return PersonState.decode(data)


def _online_row(stored: Sequence[bytes | None], features: Sequence[str], *, with_state: bool) -> OnlineRow | None:
    stamp, origin, *rest = stored
    if stamp is None:
        return None
    state = decode_state(rest[0]) if with_state and rest[0] else None
    source = layout.RowOrigin.decode(origin, layout.decode_timestamp_us(stamp))
    return OnlineRow(
        dict(zip(features, layout.decode_values(rest[1:] if with_state else rest), strict=True)),
        layout.decode_timestamp(stamp),
        source.topic if source else None,
        source.partition if source else None,
        source.offset if source else None,
        state,
    )
