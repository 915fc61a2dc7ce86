"""The watchdog: a worker that has messages waiting and gets nowhere ends, so that it is started again.

Place in the flow: a thread beside the event loop, which finds a blocked loop and a hung thread alike. It believes the brokers
(what is acknowledged, where the log ends) and the signs of life in `progress`, never Faust.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from loguru import logger

from runtime.errors import Unavailable
from streams.messages import Shard
from streams.supervision.progress import Progress


@dataclass(frozen=True)
class Standing:
    """How the group stands with one shard: the next offset that is to be acknowledged, and the log's end."""

    acknowledged: int
    end: int

    @property
    def lag(self) -> int:
        """Offsets that are not acknowledged."""
        return max(self.end - self.acknowledged, 0)


class GroupLike(Protocol):
    """The consumer group as the brokers know it."""

    def standings(self, shards: Iterable[Shard]) -> Mapping[Shard, Standing]:
        """How it stands with `shards`. Raises `Unavailable`, also for no shards, if the brokers do not answer."""
        ...

    def holds_message(self, shard: Shard, first: int, end: int) -> bool:
        """Whether a message lies from `first` up to, not with, `end`: markers of transactions are none. Raises `Unavailable`."""
        ...


@dataclass(frozen=True)
class Stall:
    """Work that waits and does not go on, and where."""

    where: str
    idle_s: float

    def __str__(self) -> str:
        return f"{self.where} has not moved for {self.idle_s:.0f} s"


class Watchdog:
    """Finds stalls: `limit_s` without a sign of life of a shard that has messages waiting, or without an assignment.

    Time in which the brokers did not answer, or in which the process itself stood still, does not count.
    """

    def __init__(
        self,
        progress: Progress,
        group: GroupLike,
        limit_s: float,
        *,
        told: Callable[[Mapping[Shard, Standing]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._group = group
        self._limit_s = limit_s
        self._told = told
        self._clock = clock
        self._looked = clock()
        self._known: dict[Shard, Standing] = {}
        self._hollow: dict[Shard, Standing] = {}

    def look(self) -> Stall | None:
        """The stall there is now, None without one, or if nobody can tell."""
        try:
            standings = self._group.standings(self._progress.owned())
        except Unavailable as error:
            logger.warning("the watchdog sees nothing: {}", error)
            self._progress.excuse()
            return None
        finally:
            slept_s, self._looked = self._clock() - self._looked, self._clock()
        if slept_s > self._limit_s / 2:
            self._progress.excuse()
        self._told(standings)
        return self._without_assignment() or self._without_progress(standings)

    def _without_assignment(self) -> Stall | None:
        idle_s = self._progress.unassigned_s()
        return Stall("the assignment of partitions", idle_s) if idle_s > self._limit_s else None

    def _without_progress(self, standings: Mapping[Shard, Standing]) -> Stall | None:
        for shard, now in standings.items():
            before, self._known[shard] = self._known.get(shard), now
            if now.lag == 0 or before is None or before.acknowledged != now.acknowledged:
                self._progress.moved(shard)
            idle_s = self._progress.idle_s(shard)
            if idle_s > self._limit_s and self._is_waiting(shard, now):
                return Stall(f"{shard}@{now.acknowledged}, {now.lag} behind,", idle_s)
        return None

    def _is_waiting(self, shard: Shard, now: Standing) -> bool:
        """Whether a message waits: after a transaction's last one comes a marker, which nobody acknowledges."""
        if self._hollow.get(shard) == now:
            return False
        try:
            if self._group.holds_message(shard, now.acknowledged, now.end):
                return True
        except Unavailable as error:
            logger.warning("the watchdog sees nothing: {}", error)
            self._progress.excuse()
            return False
        self._hollow[shard] = now
        return False


def watch(watchdog: Watchdog, every_s: float, stalled: Callable[[Stall], None]) -> None:
    """Look every `every_s` seconds, in a thread of its own, and call `stalled` with what is found."""

    def look() -> Stall | None:
        try:
            return watchdog.look()
        except Exception:  # noqa: BLE001  a watchdog that dies of a surprise guards nothing, and nobody would notice
            logger.exception("the watchdog failed; it looks again")
            return None

    def keep_looking() -> None:
        while (stall := look()) is None:
            time.sleep(every_s)
        stalled(stall)

    threading.Thread(target=keep_looking, name="watchdog", daemon=True).start()
