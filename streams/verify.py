"""Whether online store, history and raw log say the same: value by value, row by row, bit by bit.

Of each person: the online row against the history's latest one, each history row against the one that the raw log gives when
it is materialised once more by the code of the stream, and the fold's online state against the recomputed one. A worker that
is behind is no difference. What differs is looked at again after a pause before it counts: a backfill that switches epochs,
or a store that is being filled again, is in between.

Place in the flow: `habitus verify` and the demo call `verify`; `verification.partition` compares.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from feature_repo.offline.history import History, open_history
from feature_repo.online.reader import connect_async
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.schemas import PERSON_FEATURES
from runtime.clock import Clock, SystemClock
from runtime.errors import EpochSuperseded
from runtime.kafka import partition_for
from runtime.settings import Settings
from runtime.topics import Topics
from streams.adapters.kafka import KafkaLog
from streams.messages import Shard
from streams.shards import NOTHING
from streams.verification.adapters import RedisSide
from streams.verification.chosen import EVERYBODY, Chosen, named, sample
from streams.verification.findings import Findings
from streams.verification.partition import Compared, Ends, Sides, compare
from streams.verification.report import Freshness, Kind, Pair, Report
from streams.verification.sides import LogSide, OnlineSide

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Report", "Source", "verify", "verify_source"]

LOOKS = 3
_PAUSE_S = 1.0
_SWITCH_PAUSES = 30  # a switch takes as long as the newest rows of all persons take to be written online
_MS_PER_S = 1000

Sleep = Callable[[float], Awaitable[None]]
Progress = Callable[[int, int], None]  # messages read, of how many


def _silent(_done: int, _of: int) -> None:
    """Show no progress."""


@dataclass(frozen=True)
class Source:
    """What is verified: the topic of records, its log, the history, and the online store at an epoch."""

    topic: str
    partitions: int
    log: LogSide
    history: History
    online: Callable[[int], OnlineSide]
    clock: Clock

    @property
    def shards(self) -> list[Shard]:
        """The partitions of the topic."""
        return [Shard(self.topic, number) for number in range(self.partitions)]


async def verify(
    settings: Settings,
    sample: int | None = None,
    *,
    looks: int = LOOKS,
    sleep: Sleep = asyncio.sleep,
    progress: Progress = _silent,
) -> Report:
    """Compare all persons, or the `sample` persons with the smallest hashes; what differs counts after `looks`.

    Raises `Unavailable`, `BrokenHistory`.
    """
    async with _connected(settings) as source:
        return await verify_source(source, sample, looks=looks, sleep=sleep, progress=progress)


async def verify_source(
    source: Source, size: int | None, *, looks: int = LOOKS, sleep: Sleep = asyncio.sleep, progress: Progress = _silent
) -> Report:
    """As `verify`."""
    started = time.monotonic()
    is_settled = await _settled(source, sleep)
    first = look = await _Look(source, source.history.epochs.current()).compare(size, progress)
    for _ in range(looks - 1):
        if look.findings.holds:
            break
        await sleep(_PAUSE_S)
        is_settled = is_settled and await _settled(source, sleep)  # one that was cut off is waited for once
        look = await _Look(source, source.history.epochs.current()).compare_named(look.findings.persons(), progress)
    if not is_settled and not await _settled(source, _at_once):
        look.findings.positions.append(_unfinished(source))
    return replace(_report(first, look.findings), seconds=time.monotonic() - started)


async def _settled(source: Source, sleep: Sleep) -> bool:
    """Waits while a backfill moves writers and readers, or removes who is in no history any more; whether that has ended.

    Meanwhile what is online is of two epochs.
    """
    epochs = source.history.epochs
    for _ in range(_SWITCH_PAUSES):
        if epochs.written() == epochs.current() == epochs.finished():
            return True
        await sleep(_PAUSE_S)
    return False


async def _at_once(_: float) -> None:
    """No pause."""


def _unfinished(source: Source) -> str:
    epochs = source.history.epochs
    told = f"workers write epoch {epochs.written()}, readers read {epochs.current()}"
    return f"a backfill was cut off ({told}): `habitus backfill` finishes it"


@asynccontextmanager
async def _connected(settings: Settings) -> "AsyncIterator[Source]":
    topic, log = Topics(settings).records.name, KafkaLog(settings)
    client, blocking = connect_async(settings), connect(settings)
    writer = OnlineWriter(blocking, settings.project)
    try:
        yield Source(
            topic,
            log.partitions(topic),
            log,
            open_history(settings, PERSON_FEATURES),
            lambda epoch: RedisSide(client, writer.at(epoch), settings.project),
            SystemClock(),
        )
    finally:
        blocking.close()
        await client.aclose()


class _Look:
    """Everything compared once, in one epoch."""

    def __init__(self, source: Source, epoch: int) -> None:
        self.source = source
        self.epoch = epoch
        self.findings = Findings()
        self.compared: dict[Shard, Compared] = {}
        self._history = source.history.at(epoch)
        self._online = source.online(epoch)
        self.ends = {shard: self._ends(shard) for shard in source.shards}  # before anything else is read

    async def compare(self, size: int | None, progress: Progress) -> "_Look":
        """Compare all persons or a sample of them."""
        persons = await self._online.persons()
        return await self._compare(persons, self._choose(size, persons), progress)

    async def compare_named(self, persons: frozenset[str], progress: Progress) -> "_Look":
        """Compare those."""
        return await self._compare(persons, named(persons), progress)

    async def _compare(self, persons: Iterable[str], chosen: Chosen, progress: Progress) -> "_Look":
        by_shard: dict[Shard, list[str]] = {shard: [] for shard in self.source.shards}
        for person_id in sorted(filter(chosen.has, persons)):
            by_shard[Shard(self.source.topic, partition_for(person_id.encode(), self.source.partitions))].append(person_id)
        counted = _Counted(progress, sum(ends.log + 1 for ends in self.ends.values()))
        for shard, mine in by_shard.items():
            stored = zip(mine, await self._online.read(mine), strict=True)
            there = {person_id: found for person_id, found in stored if found is not None}
            sides = Sides(self._history, self.source.log, self.source.partitions, self.epoch, chosen)
            self.compared[shard] = compare(shard, self.ends[shard], there, sides, self.findings, progress=counted)
        return self

    def _choose(self, size: int | None, online: set[str]) -> Chosen:
        """Where fewer than `size` are online, the history's persons bound the sample."""
        if size is None:
            return EVERYBODY
        if len(online) >= size:
            return sample(size, online)
        return sample(size, online.union(self._history.scan(["person_id"])["person_id"].unique().to_pylist()))

    def _ends(self, shard: Shard) -> Ends:
        acknowledged = self.source.log.acknowledged(shard)
        history_end = self._history.end(shard.topic, shard.partition)
        return Ends(
            self.source.log.end(shard) - 1,
            NOTHING if history_end is None else history_end,
            self._watermark(shard),
            NOTHING if acknowledged is None else acknowledged,
        )

    def _watermark(self, shard: Shard) -> int | None:
        try:
            return self._online.watermark(shard)
        except EpochSuperseded as error:
            self.findings.positions.append(
                f"{shard}: readers read epoch {self.epoch}, the online store holds epoch {error.newer}; "
                "`habitus backfill` finishes the switch"
            )
            return None


class _Counted:
    """Progress over all partitions."""

    def __init__(self, progress: Progress, due: int) -> None:
        self._progress = progress
        self._due = due
        self._done = 0

    def __call__(self, messages: int) -> None:
        self._done += messages
        self._progress(self._done, self._due)


def _report(look: _Look, findings: Findings) -> Report:
    compared = look.compared.values()
    return Report(
        checked=sum(each.persons for each in compared),
        **{kind.value: len(findings.persons(kind)) for kind in Kind},
        positions=len(findings.positions),
        pairs={pair.value: findings.of(pair) for pair in Pair},
        freshness=tuple(_freshness(look, shard) for shard in look.compared),
        messages=sum(each.messages for each in compared),
        rows=sum(each.rows for each in compared),
        rejected=sum(each.rejected for each in compared),
        epoch=look.epoch,
        examples=findings.examples(),
    )


def _freshness(look: _Look, shard: Shard) -> Freshness:
    ends, now_ms = look.ends[shard], look.source.clock.now().timestamp() * _MS_PER_S
    applied = NOTHING if ends.watermark is None else ends.watermark

    def age_s(timestamp_ms: int | None) -> float | None:
        return None if timestamp_ms is None else round((now_ms - timestamp_ms) / _MS_PER_S, 3)

    return Freshness(
        shard.partition,
        log_end=_or_none(ends.log),
        history_end=_or_none(ends.history),
        watermark=ends.watermark,
        unapplied=max(ends.log - applied, 0),
        oldest_unapplied_s=age_s(_first_after(look.source.log, shard, applied, ends.log)),
        newest_applied_s=age_s(look.compared[shard].newest_applied_ms),
    )


def _first_after(log: LogSide, shard: Shard, offset: int, last: int) -> int | None:
    """The timestamp of the first message above `offset`."""
    if offset >= last:
        return None
    return next((messages[0].timestamp_ms for messages in log.read(shard, offset + 1, last + 1)), None)


def _or_none(offset: int) -> int | None:
    return None if offset == NOTHING else offset
