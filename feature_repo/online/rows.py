"""Writing the online store: guarded and pipelined, for the stream.

Place in the flow: the stream applies rows and then the partition's watermark; `reader` reads them. Every write is guarded in
Redis itself (`guard`): a state only moves on to a greater (epoch, offset), a row only to a greater (epoch, event time,
offset), so applying twice or out of order changes nothing. A row replaces another whole: a feature that the new one does not
have is removed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import pyarrow as pa
from redis import RedisCluster
from redis.exceptions import RedisClusterException, RedisError

from feature_repo.online import guard, layout
from feature_repo.online.connections import Client, open_client
from feature_repo.online.reader import decode_state
from feature_repo.temporal import PersonState
from runtime.errors import EpochSuperseded, Unavailable
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
