"""The online store: guarded, pipelined writes for the stream, pipelined reads for the predictor.

Place in the flow: the stream applies rows and then the partition's watermark; the predictor reads rows and states by
person. Every write is guarded in Redis itself (`guard`): a state only moves on to a greater (epoch, offset), a row only to
a greater (epoch, event time, offset), so applying twice or out of order changes nothing. A row replaces another whole: a
feature that the new one does not have is removed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast

import pyarrow as pa
from redis import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from feature_repo.online import guard, layout
from feature_repo.online.connections import AsyncClient, Client, open_async_client, open_client
from feature_repo.temporal import STATE_VERSION, PersonState, to_us
from runtime.clock import Clock, SystemClock
from runtime.errors import EpochSuperseded, Unavailable, UnknownStateVersion
from runtime.refusals import redis_failure
from runtime.settings import Settings

_FAILURES = (RedisError, RedisClusterException, OSError)
_STATE_FIELDS = [layout.POSITION_FIELD, layout.STATE_FIELD]
_SCAN_COUNT = 1_000


def connect(settings: Settings) -> Client:
    """A client for `settings.redis_url`. Raises `Unavailable` if it names a cluster that does not answer."""
    try:
        return open_client(settings.redis_url.get_secret_value())
    except _FAILURES as error:
        raise redis_failure(error) from error


def connect_async(settings: Settings) -> AsyncClient:
    """As `connect`, for asyncio."""
    return open_async_client(settings.redis_url.get_secret_value())


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


class OnlineWriter:
    """Writes of one Feast project. Every method raises `Unavailable` if Redis does not answer."""

    def __init__(self, client: Client, project: str, epoch: int = 0) -> None:
        self._client = client
        self._project = project
        self._epoch = epoch

    def at(self, epoch: int) -> "OnlineWriter":
        """A writer of the same project whose rows and states are of `epoch`: they win over those of epochs below."""
        return OnlineWriter(self._client, self._project, epoch)

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        """The stored states of those persons who have one in this epoch. Raises `UnknownStateVersion`."""
        wanted = list(dict.fromkeys(person_ids))
        pipe = self._client.pipeline(transaction=False)
        for person_id in wanted:
            pipe.hmget(self._key(person_id), _STATE_FIELDS)  # type: ignore[arg-type]  # keys are bytes
        found = zip(wanted, self._execute(pipe), strict=True)
        return {
            person_id: decode_state(state)
            for person_id, (position, state) in found
            if state and layout.Position.decode(position).epoch == self._epoch
        }

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        """Store, of each person in `rows` (of one partition, history schema), the newest row and the state after them all."""
        newest = _newest(rows)
        self._evaluate(guard.WRITE, list(self._writes(newest, states)))

    def remove_older(self, epoch: int) -> int:
        """Remove rows and states of epochs below `epoch`, wherever a person has one; answers how many persons had.

        Other views' features of a person stay. For after a rebuild, which writes whoever it knows anew.
        """
        first = layout.encode_epoch(epoch)
        removed = 0
        for keys in _chunks(self._keys(), guard.AT_ONCE):
            removed += sum(self._evaluate(guard.REMOVE, [(key, [layout.VIEW, first, layout.ROW_NAMES]) for key in keys]))
        return removed

    def watermark(self, topic: str, partition: int) -> int | None:
        """The last offset of the partition whose rows are all stored; None if unknown in this epoch.

        Raises `EpochSuperseded` if the store was filled in a newer epoch.
        """
        try:
            found = cast("bytes | None", self._client.get(self._watermark_key(topic, partition)))
        except _FAILURES as error:
            raise redis_failure(error) from error
        if found is None:
            return None
        epoch, _, offset = found.decode().partition(":")
        if int(epoch) > self._epoch:
            raise EpochSuperseded(self._epoch, int(epoch))
        return int(offset) if int(epoch) == self._epoch else None

    def server(self, topic: str, partition: int) -> str:
        """The identity of the server that holds the watermark now: another one after a restart or a failover."""
        (run_id,) = self._evaluate(guard.SERVER, [(self._watermark_key(topic, partition), [])])
        return bytes(run_id).decode()

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int, server: str) -> bool:
        """State that all rows up to `offset` are stored, if those up to `known` still are; called after `apply`.

        False, and nothing is stated, if the watermark is no longer `known`: the store was emptied or set back meanwhile; or if it
        is not `server` any more, asked before `apply`: then another one took over, which may lack the rows.
        """
        before = b"" if known is None else self._mark(known)
        marks = [before, self._mark(offset), server.encode()]
        (moved,) = self._evaluate(guard.ADVANCE, [(self._watermark_key(topic, partition), marks)])
        return bool(moved)

    def refuse_eviction(self) -> None:
        """Check that Redis never drops a key to save memory. Raises `Unavailable` naming the remedy if it might."""
        try:
            policies = self._policies()
        except _FAILURES as error:
            raise redis_failure(error) from error
        for policy in policies - {"noeviction"}:
            raise Unavailable("redis", f"maxmemory-policy is {policy}; set it to noeviction, or rows disappear silently")

    def _policies(self) -> set[str]:
        client, name = self._client, "maxmemory-policy"
        if isinstance(client, RedisCluster):
            told = [client.config_get(name, target_nodes=node) for node in client.get_primaries()]  # type: ignore[no-untyped-call]
        else:
            told = [client.config_get(name)]
        return {cast("dict[str, str]", each)[name] for each in told}

    def _writes(self, rows: pa.Table, states: Mapping[str, PersonState]) -> Iterator[guard.Call]:
        origin = (rows[name].to_pylist() for name in ("person_id", "source_offset", "source_partition", "source_topic"))
        columns = (event_times_us(rows), *origin, layout.encode_rows(rows))
        for event_us, person_id, offset, partition, topic, values in zip(*columns, strict=True):
            state = states[person_id]
            source = layout.RowOrigin(self._epoch, event_us, offset, partition, topic).encode()
            arguments: list[bytes | str | int] = [
                layout.VIEW,
                source[: layout.RANK_LENGTH],
                source,
                layout.encode_timestamp_us(event_us),
            ]
            position = layout.Position(self._epoch, state.offset).encode()
            yield self._key(person_id), [*arguments, layout.ROW_NAMES, values, 0, position, state.encode()]

    def _keys(self) -> Iterator[bytes]:
        """The keys of all persons of the project."""
        found = self._client.scan_iter(match=layout.entity_key_pattern(self._project), count=_SCAN_COUNT)
        try:
            yield from (key for key in found if layout.decode_entity_key(key, self._project) is not None)
        except _FAILURES as error:
            raise redis_failure(error) from error

    def _key(self, person_id: str) -> bytes:
        return layout.entity_key(person_id, self._project)

    def _watermark_key(self, topic: str, partition: int) -> str:
        return layout.watermark_key(self._project, topic, partition)

    def _mark(self, offset: int) -> bytes:
        return f"{self._epoch}:{offset}".encode()

    def _evaluate(self, script: guard.Script, calls: Sequence[guard.Call]) -> list[Any]:
        try:
            return guard.evaluate(self._client, script, calls)
        except _FAILURES as error:
            raise redis_failure(error) from error

    def _execute(self, pipe: Any) -> list[Any]:
        try:
            return cast("list[Any]", pipe.execute())
        except _FAILURES as error:
            raise redis_failure(error) from error


class OnlineReader:
    """Reads of one Feast project, for asyncio. With a `ttl`, rows older than it are `expired`; nothing is deleted."""

    def __init__(self, client: AsyncClient, project: str, *, ttl: timedelta | None = None, clock: Clock | None = None) -> None:
        self._client = client
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
        pipe = self._client.pipeline(transaction=False)
        for person_id in person_ids:
            pipe.hmget(layout.entity_key(person_id, self._project), fields)  # type: ignore[arg-type]  # keys are bytes
        try:
            found: list[list[bytes | None]] = await pipe.execute()
        except _FAILURES as error:
            raise redis_failure(error) from error
        rows = [_online_row(values, features, with_state=with_state) for values in found]
        return rows if self._ttl is None else [self._hidden_if_old(row, self._clock.now() - self._ttl) for row in rows]

    @staticmethod
    def _hidden_if_old(row: OnlineRow | None, limit: datetime) -> OnlineRow | None:
        if row is None or row.event_timestamp >= limit:
            return row
        return replace(row, values=dict.fromkeys(row.values), expired=True)

    async def ping(self) -> None:
        """Raises `Unavailable` if Redis does not answer."""
        try:
            await self._client.ping()  # type: ignore[misc]  # typed for both kinds of client
        except _FAILURES as error:
            raise redis_failure(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def decode_state(data: bytes) -> PersonState:
    """The state in `data`. Raises `UnknownStateVersion` if other code wrote it than this can continue."""
    if data[0] != STATE_VERSION:
        raise UnknownStateVersion(data[0], STATE_VERSION)
    return PersonState.decode(data)


def event_times_us(rows: pa.Table) -> list[int]:
    """The rows' event times in microseconds since 1970."""
    times: list[int] = rows["event_timestamp"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    return times


def _newest(rows: pa.Table) -> pa.Table:
    """Of each person the row with the greatest (event time, offset)."""
    newest: dict[str, tuple[int, int, int]] = {}
    columns = (rows["person_id"].to_pylist(), event_times_us(rows), rows["source_offset"].to_pylist())
    for number, (person_id, event_us, offset) in enumerate(zip(*columns, strict=True)):
        known = newest.get(person_id)
        if known is None or known[:2] < (event_us, offset):
            newest[person_id] = (event_us, offset, number)
    return rows if len(newest) == len(rows) else rows.take([number for _, _, number in newest.values()])


def _chunks(keys: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _online_row(values: Sequence[bytes | None], features: Sequence[str], *, with_state: bool) -> OnlineRow | None:
    stamp, origin, *rest = values
    if stamp is None:
        return None
    state = decode_state(rest[0]) if with_state and rest[0] else None
    decoded = map(layout.decode_value, rest[1:] if with_state else rest)
    event_time = layout.decode_timestamp(stamp)
    source = layout.RowOrigin.decode(origin, to_us(event_time))
    return OnlineRow(
        values=dict(zip(features, decoded, strict=True)),
        event_timestamp=event_time,
        source_topic=source.topic if source else None,
        source_partition=source.partition if source else None,
        source_offset=source.offset if source else None,
        state=state,
    )
