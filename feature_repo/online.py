"""The online store: guarded, pipelined writes for the stream, pipelined reads for the predictor.

Place in the flow: the stream applies rows and then the partition's watermark; the predictor reads rows and states by
person. Every write is guarded in Redis itself: a state only moves on to a greater (epoch, offset), a row only to a
greater (epoch, event time, offset), so applying twice or out of order changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import pyarrow as pa
from redis import Redis
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from feature_repo import layout
from feature_repo.features import FEATURE_NAMES
from feature_repo.temporal import PersonState, to_us
from runtime.errors import Unavailable
from runtime.settings import Settings

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0

# KEYS: a person's hash. ARGV: position, state, row origin, then the row's fields and values. Answers how many of the two were
# written.
_APPLY = f"""
local position = redis.call('HGET', KEYS[1], '{layout.POSITION_FIELD.decode()}')
local written = 0
if not position or position < ARGV[1] then
  redis.call('HSET', KEYS[1], '{layout.POSITION_FIELD.decode()}', ARGV[1], '{layout.STATE_FIELD.decode()}', ARGV[2])
  written = 1
end
local row = redis.call('HGET', KEYS[1], '{layout.ROW_FIELD.decode()}')
if not row or string.sub(row, 1, {layout.RANK_LENGTH}) < string.sub(ARGV[3], 1, {layout.RANK_LENGTH}) then
  redis.call('HSET', KEYS[1], '{layout.ROW_FIELD.decode()}', ARGV[3], unpack(ARGV, 4))
  written = written + 1
end
return written
"""

# KEYS: a watermark. ARGV: what it must be (empty: absent, or of another epoch), what it becomes. Answers whether it moved.
_ADVANCE = """
local found = redis.call('GET', KEYS[1]) or ''
local epoch = string.match(ARGV[2], '^%d+:')
if string.sub(found, 1, #epoch) ~= epoch then found = '' end
if found ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


def connect(settings: Settings) -> Redis:
    """A Redis client for `settings.redis_url`; connects when first used."""
    url = settings.redis_url.get_secret_value()
    return Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S)


def connect_async(settings: Settings) -> redis_asyncio.Redis:
    """As `connect`, for asyncio."""
    url = settings.redis_url.get_secret_value()
    return redis_asyncio.Redis.from_url(url, socket_connect_timeout=CONNECT_TIMEOUT_S, socket_timeout=ANSWER_TIMEOUT_S)


@dataclass(frozen=True)
class OnlineRow:
    """What is stored of a person: the features asked for, the record behind them, the fold's state if asked for."""

    values: Mapping[str, Any]
    event_timestamp: datetime
    source_topic: str
    source_partition: int
    source_offset: int
    state: PersonState | None = None


class OnlineWriter:
    """Writes of one Feast project. Every method raises `Unavailable` if Redis does not answer."""

    def __init__(self, client: Redis, project: str, epoch: int = 0) -> None:
        self._client = client
        self._project = project
        self._epoch = epoch
        self._apply = client.register_script(_APPLY)
        self._advance = client.register_script(_ADVANCE)

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        """The stored states of those persons who have one in this epoch."""
        wanted = list(dict.fromkeys(person_ids))
        pipe = self._client.pipeline(transaction=False)
        for person_id in wanted:
            pipe.hget(self._key(person_id), layout.STATE_FIELD.decode())  # type: ignore[arg-type]  # keys are bytes
        found = zip(wanted, self._execute(pipe), strict=True)
        states = {person_id: PersonState.decode(data) for person_id, data in found if data}
        return {person_id: state for person_id, state in states.items() if state.epoch == self._epoch}

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        """Store, of each person in `rows` (of one partition, history schema), the newest row and the state after them all."""
        pipe = self._client.pipeline(transaction=False)
        for row in _newest(rows):
            self._apply(
                keys=[self._key(row["person_id"])],
                args=self._arguments(row, states[row["person_id"]]),
                client=pipe,
            )
        self._execute(pipe)

    def watermark(self, topic: str, partition: int) -> int | None:
        """The last offset of the partition whose rows are all stored; None if unknown in this epoch."""
        try:
            found = cast("bytes | None", self._client.get(self._watermark_key(topic, partition)))
        except RedisError as error:
            raise Unavailable("redis", str(error)) from error
        epoch, _, offset = (found or b"").decode().partition(":")
        return int(offset) if offset and int(epoch) == self._epoch else None

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int) -> bool:
        """State that all rows up to `offset` are stored, if those up to `known` still are; called after `apply`.

        False, and nothing is stated, if the watermark is no longer `known`: the store was emptied or set back meanwhile.
        """
        before = b"" if known is None else self._mark(known)
        try:
            return bool(self._advance(keys=[self._watermark_key(topic, partition)], args=[before, self._mark(offset)]))
        except RedisError as error:
            raise Unavailable("redis", str(error)) from error

    def refuse_eviction(self) -> None:
        """Check that Redis never drops a key to save memory. Raises `Unavailable` naming the remedy if it might."""
        try:
            policy = cast("dict[str, str]", self._client.config_get("maxmemory-policy"))["maxmemory-policy"]
        except RedisError as error:
            raise Unavailable("redis", str(error)) from error
        if policy != "noeviction":
            raise Unavailable("redis", f"maxmemory-policy is {policy}; set it to noeviction, or rows disappear silently")

    def _arguments(self, row: Mapping[str, Any], state: PersonState) -> list[bytes]:
        origin = layout.RowOrigin(
            self._epoch,
            to_us(row["event_timestamp"]),
            row["source_offset"],
            row["source_partition"],
            row["source_topic"],
        )
        arguments = [layout.encode_position(self._epoch, state.offset), state.encode(), origin.encode()]
        arguments += [layout.TIMESTAMP_FIELD, layout.encode_timestamp(row["event_timestamp"])]
        for name in FEATURE_NAMES:
            arguments += [layout.FIELDS[name], layout.encode_value(name, row[name])]
        return arguments

    def _key(self, person_id: str) -> bytes:
        return layout.entity_key(person_id, self._project)

    def _watermark_key(self, topic: str, partition: int) -> str:
        return f"{self._project}:watermark:{topic}:{partition}"

    def _mark(self, offset: int) -> bytes:
        return f"{self._epoch}:{offset}".encode()

    def _execute(self, pipe: Any) -> list[Any]:
        try:
            return cast("list[Any]", pipe.execute())
        except RedisError as error:
            raise Unavailable("redis", str(error)) from error


class OnlineReader:
    """Reads of one Feast project, for asyncio."""

    def __init__(self, client: redis_asyncio.Redis, project: str) -> None:
        self._client = client
        self._project = project

    async def read(
        self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False
    ) -> list[OnlineRow | None]:
        """The rows of `person_ids`, in their order, None where nothing is stored; one round trip.

        Raises `KeyError` for a feature that is none, `Unavailable` if Redis does not answer.
        """
        fields = [layout.TIMESTAMP_FIELD, layout.ROW_FIELD, *([layout.STATE_FIELD] if with_state else [])]
        fields += [layout.FIELDS[name] for name in features]
        pipe = self._client.pipeline(transaction=False)
        for person_id in person_ids:
            pipe.hmget(layout.entity_key(person_id, self._project), fields)  # type: ignore[arg-type]  # keys are bytes
        try:
            found: list[list[bytes | None]] = await pipe.execute()
        except (RedisError, OSError) as error:
            raise Unavailable("redis", str(error)) from error
        return [_online_row(values, features, with_state=with_state) for values in found]

    async def ping(self) -> None:
        """Raises `Unavailable` if Redis does not answer."""
        try:
            await self._client.ping()  # type: ignore[misc]  # typed for both kinds of client
        except (RedisError, OSError) as error:
            raise Unavailable("redis", str(error)) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _newest(rows: pa.Table) -> list[dict[str, Any]]:
    """Of each person the row with the greatest (event time, offset)."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows.to_pylist():
        known = newest.get(row["person_id"])
        if known is None or (known["event_timestamp"], known["source_offset"]) < (
            row["event_timestamp"],
            row["source_offset"],
        ):
            newest[row["person_id"]] = row
    return list(newest.values())


def _online_row(values: Sequence[bytes | None], features: Sequence[str], *, with_state: bool) -> OnlineRow | None:
    stamp, origin, *rest = values
    if stamp is None or origin is None:
        return None
    state = PersonState.decode(rest[0]) if with_state and rest[0] else None
    decoded = map(layout.decode_value, rest[1:] if with_state else rest)
    source = layout.RowOrigin.decode(origin)
    return OnlineRow(
        values=dict(zip(features, decoded, strict=True)),
        event_timestamp=layout.decode_timestamp(stamp),
        source_topic=source.topic,
        source_partition=source.partition,
        source_offset=source.offset,
        state=state,
    )
