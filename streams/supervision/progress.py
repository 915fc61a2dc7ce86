"""Signs of life: what the worker got done, told by the threads that do it, read by the watchdog's.

Place in the flow: `app` tells which shards are owned and which are being handled; `Persistence` and `Watched` tell each effect
that came to an end. Nothing here waits, and nothing asks a server.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa

from feature_repo.temporal import PersonState
from streams.messages import Shard
from streams.shelf import OnlineLike


@dataclass(frozen=True)
class _Work:
    """What a thread has in hand, and since when."""

    shards: frozenset[Shard]
    since: float


class Progress:
    """When something was last done for each owned shard; for any number of threads.

    A piece of work that takes longer than `long_s`, such as filling an emptied store, keeps the other shards of its topics
    waiting: then its signs of life count for them too. A shorter one speaks for its own shards alone, so that a shard which
    never gets its turn is not hidden by the others.
    """

    def __init__(self, long_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._long_s = long_s
        self._clock = clock
        self._lock = threading.Lock()
        self._in_hand = threading.local()
        self._alive: dict[Shard, float] = {}
        self._first: dict[Shard, int] = {}
        self._unassigned_since: float | None = clock()

    def assign(self, shards: Iterable[Shard]) -> None:
        """From now on `shards` are owned, and no others."""
        with self._lock:
            self._alive = dict.fromkeys(shards, self._clock())
            self._unassigned_since = None

    def revoke(self, shards: Iterable[Shard]) -> None:
        """`shards` are owned no more, and an assignment is awaited."""
        with self._lock:
            for shard in shards:
                self._alive.pop(shard, None)
            self._unassigned_since = self._clock()

    @contextmanager
    def working(self, shards: Iterable[Shard]) -> Iterator[None]:
        """This thread works on `shards` now; `beat` speaks for them."""
        self._in_hand.work = _Work(frozenset(shards), self._clock())
        self.beat()
        try:
            yield
            self.beat()
        finally:
            self._in_hand.work = None

    def beat(self) -> None:
        """This thread has got something done, or has found that it failed: it does not hang."""
        work: _Work | None = getattr(self._in_hand, "work", None)
        if work is None:
            return
        now = self._clock()
        topics = {shard.topic for shard in work.shards} if now - work.since > self._long_s else set()
        with self._lock:
            for shard in self._alive:
                if shard in work.shards or shard.topic in topics:
                    self._alive[shard] = now

    def handled(self, shard: Shard, first: int) -> None:
        """Messages of `shard` from offset `first` on were handled, and may be acknowledged."""
        with self._lock:
            self._first.setdefault(shard, first)

    def has_acknowledged(self, shard: Shard, acknowledged: int) -> bool:
        """Whether `acknowledged`, the offset that the brokers know, covers something that this process handled."""
        with self._lock:
            return shard in self._first and acknowledged > self._first[shard]

    def moved(self, shard: Shard) -> None:
        """`shard` is not waiting for anything, or its acknowledged offset moved."""
        with self._lock:
            if shard in self._alive:
                self._alive[shard] = self._clock()

    def excuse(self) -> None:
        """Nothing can be said about the time up to now: count from here."""
        now = self._clock()
        with self._lock:
            self._alive = dict.fromkeys(self._alive, now)
            if self._unassigned_since is not None:
                self._unassigned_since = now

    def owned(self) -> list[Shard]:
        """The owned shards, in order."""
        with self._lock:
            return sorted(self._alive, key=str)

    def idle_s(self, shard: Shard) -> float:
        """Seconds since the last sign of life of `shard`; 0 if it is not owned."""
        with self._lock:
            return self._clock() - self._alive.get(shard, self._clock())

    def unassigned_s(self) -> float:
        """Seconds since partitions were taken from this worker, or it started, without an assignment after it; else 0."""
        with self._lock:
            return 0.0 if self._unassigned_since is None else self._clock() - self._unassigned_since


@dataclass(frozen=True)
class Watched:
    """An online store each of whose answers is a sign of life: catching up may be one effect of many minutes."""

    online: OnlineLike
    progress: Progress

    def at(self, epoch: int) -> "Watched":
        """The store as a writer of `epoch` sees it."""
        return Watched(self.online.at(epoch), self.progress)

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        """As the store."""
        states = self.online.states(person_ids)
        self.progress.beat()
        return states

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        """As the store."""
        self.online.apply(rows, states)
        self.progress.beat()

    def watermark(self, topic: str, partition: int) -> int | None:
        """As the store."""
        return self.online.watermark(topic, partition)

    def server(self, topic: str, partition: int) -> str:
        """As the store."""
        return self.online.server(topic, partition)

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int, server: str) -> bool:
        """As the store."""
        return self.online.advance_watermark(topic, partition, known, offset, server)

    def remove_older(self, epoch: int) -> int:
        """As the store."""
        return self.online.remove_older(epoch)
