"""Whether the online store holds what the history says: the latest row of each person, value by value.

Place in the flow: `habitus verify` and the demo call `verify`. A worker writes history before the online store, so what differs
is looked at again after a pause before it counts. The next comparison (history against a recomputation from the raw log) has
its place beside `_differences`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from feature_repo import layout
from feature_repo.features import FEATURE_NAMES
from feature_repo.gate import person_hash
from feature_repo.history import History
from feature_repo.online import OnlineReader, OnlineRow, connect_async
from feature_repo.schemas import PERSON_FEATURES
from runtime.errors import Unavailable
from runtime.settings import Settings

SHOWN = 20  # differences named in a report
_READ_AT_ONCE = 500
_LOOKS = 3
_PAUSE_S = 1.0
_SCAN_COUNT = 1000

Row = Mapping[str, Any]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True)
class Report:
    """How many persons were checked, and how many differ: other values, not online, online but not in the history."""

    checked: int
    mismatched: int
    missing: int
    extra: int
    examples: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not (self.mismatched or self.missing or self.extra)


@dataclass(frozen=True)
class _Differences:
    """Sentences about each person that differs."""

    mismatched: Mapping[str, str]
    missing: Mapping[str, str]
    extra: Mapping[str, str]

    def report(self, checked: int) -> Report:
        sentences = (*self.mismatched.values(), *self.missing.values(), *self.extra.values())
        return Report(checked, len(self.mismatched), len(self.missing), len(self.extra), tuple(islice(sentences, SHOWN)))


async def verify(settings: Settings, sample: int | None = None, *, sleep: Sleep = asyncio.sleep) -> Report:
    """Compare online rows with the history: of all persons, or of the `sample` persons with the smallest hash.

    Persons that are online but not in the history are looked for among all. Raises `Unavailable` if Redis does not answer.
    """
    history = History(settings.offline_path, PERSON_FEATURES)
    client = connect_async(settings)
    try:
        for look in range(_LOOKS):
            rows = latest_rows(history.scan())
            chosen = _sample(rows, sample)
            found = await _differences(rows, chosen, client, settings.project)
            report = found.report(len(chosen))
            if report.holds or look == _LOOKS - 1:
                return report
            await sleep(_PAUSE_S)
    except (RedisError, OSError) as error:
        raise Unavailable("redis", str(error)) from error
    finally:
        await client.aclose()
    raise AssertionError("the last look returns")


def latest_rows(history: pa.Table) -> dict[str, Row]:
    """By person the row with the greatest (event time, offset)."""
    order = [("person_id", "ascending"), ("event_timestamp", "ascending"), ("source_offset", "ascending")]
    ordered = history.take(pc.sort_indices(history, sort_keys=order))
    return {row["person_id"]: row for row in ordered.to_pylist()}


def differences(expected: Row, found: OnlineRow) -> list[str]:
    """What differs between a person's history row and the online row, a phrase each."""
    wanted = {name: expected[name] for name in ("event_timestamp", "source_topic", "source_partition", "source_offset")}
    pairs = [(name, value, getattr(found, name)) for name, value in wanted.items()]
    pairs += [(name, expected[name], found.values[name]) for name in FEATURE_NAMES]
    return [f"{name} is {online!r} online, {offline!r} in the history" for name, offline, online in pairs if offline != online]


def _sample(rows: Mapping[str, Row], size: int | None) -> list[str]:
    return list(rows) if size is None else sorted(rows, key=person_hash)[:size]


async def _differences(rows: Mapping[str, Row], chosen: Sequence[str], client: redis_asyncio.Redis, project: str) -> _Differences:
    mismatched: dict[str, str] = {}
    missing: dict[str, str] = {}
    reader = OnlineReader(client, project)
    for part in _parts(chosen):
        for person_id, found in zip(part, await reader.read(part, FEATURE_NAMES), strict=True):
            if found is None:
                missing[person_id] = f"{person_id}: not online"
            elif told := differences(rows[person_id], found):
                mismatched[person_id] = f"{person_id}: {'; '.join(told)}"
    online = await _online_persons(client, project)
    extra = {person_id: f"{person_id}: online, but not in the history" for person_id in sorted(online - rows.keys())}
    return _Differences(mismatched, missing, extra)


async def _online_persons(client: redis_asyncio.Redis, project: str) -> set[str]:
    pattern = b"*" + b"".join(b"\\" + bytes([each]) for each in project.encode())
    keys = client.scan_iter(match=pattern, count=_SCAN_COUNT)
    persons = {layout.decode_entity_key(key, project) async for key in keys}
    return {person_id for person_id in persons if person_id is not None}


def _parts(persons: Sequence[str]) -> Iterable[Sequence[str]]:
    return (persons[start : start + _READ_AT_ONCE] for start in range(0, len(persons), _READ_AT_ONCE))
