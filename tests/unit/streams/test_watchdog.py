"""The watchdog tells a stall from every other silence."""

import queue
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from runtime.errors import Unavailable
from streams.messages import Shard
from streams.supervision.progress import Progress, Watched
from streams.supervision.watchdog import Stall, Standing, Watchdog
from streams.supervision.watchdog import watch as watch_with

A, B, LABELS = Shard("person.records", 0), Shard("person.records", 1), Shard("person.labels", 0)
LIMIT_S = 60
LOOKS_EVERY_S = 5


@dataclass
class Time:
    """A clock that the test sets."""

    now_s: float = 1000.0

    def __call__(self) -> float:
        return self.now_s


@dataclass
class Brokers:
    """What the brokers would answer; `marker_only` shards hold no message that waits."""

    known: dict[Shard, Standing] = field(default_factory=dict)
    answer: bool = True
    marker_only: set[Shard] = field(default_factory=set)
    read: int = 0

    def standings(self, shards: Iterable[Shard]) -> Mapping[Shard, Standing]:
        if not self.answer:
            raise Unavailable("kafka", "it is away")
        return {shard: self.known.get(shard, Standing(0, 0)) for shard in shards}

    def holds_message(self, shard: Shard, first: int, end: int) -> bool:
        self.standings(())
        self.read += 1
        assert (first, end) == (self.known[shard].acknowledged, self.known[shard].end)
        return shard not in self.marker_only


class Watch:
    """A watchdog, and the time that passes before it."""

    def __init__(self) -> None:
        self.time = Time()
        self.progress = Progress(LIMIT_S / 2, self.time)
        self.brokers = Brokers()
        self.told: list[Mapping[Shard, Standing]] = []
        self.dog = Watchdog(self.progress, self.brokers, LIMIT_S, told=self.told.append, clock=self.time)

    def stall_within(self, seconds: float, each: Any = lambda: None) -> str | None:
        """What the watchdog finds while `seconds` pass, with `each` done before every look."""
        end_s = self.time.now_s + seconds
        while self.time.now_s < end_s:
            self.time.now_s += LOOKS_EVERY_S
            each()
            if stall := self.dog.look():
                return str(stall)
        return None


@pytest.fixture
def watch() -> Watch:
    made = Watch()
    made.progress.assign([A, B])
    made.brokers.known = {A: Standing(5, 9), B: Standing(7, 7)}
    return made


def test_messages_that_wait_without_progress_are_a_stall_and_its_place_is_told(watch: Watch) -> None:
    assert watch.stall_within(LIMIT_S) is None
    assert watch.stall_within(3 * LOOKS_EVERY_S) == "person.records[0]@5, 4 behind, has not moved for 65 s"
    assert watch.told[-1] == watch.brokers.known


def test_a_quiet_partition_is_none(watch: Watch) -> None:
    watch.brokers.known[A] = Standing(9, 9)
    assert watch.stall_within(10 * LIMIT_S) is None


def test_what_the_brokers_know_to_be_acknowledged_is_progress(watch: Watch) -> None:
    def acknowledge() -> None:
        known = watch.brokers.known[A]
        watch.brokers.known[A] = Standing(known.acknowledged + 1, known.end + 1)

    assert watch.stall_within(10 * LIMIT_S, acknowledge) is None
    assert watch.stall_within(2 * LIMIT_S) is not None


def test_a_partition_is_not_hidden_by_another_that_goes_on(watch: Watch) -> None:
    """Promise: a partition that never gets its turn is found, however busy the worker is with others."""
    watch.brokers.known[B] = Standing(7, 1_000_000)

    def handle_b() -> None:
        with watch.progress.working([B]):
            watch.progress.beat()

    assert str(watch.stall_within(2 * LIMIT_S, handle_b)).startswith("person.records[0]@5")


def test_messages_that_are_handled_but_never_acknowledged_are_a_stall_when_nothing_more_comes(watch: Watch) -> None:
    with watch.progress.working([A]):
        watch.progress.handled(A, 5)
    assert watch.stall_within(2 * LIMIT_S) is not None


def test_a_piece_of_work_that_gets_something_done_may_take_any_time(watch: Watch) -> None:
    """Promise: filling an emptied store for hours, while everything else waits, is no stall; hanging in it is one."""
    watch.brokers.known[B] = Standing(7, 8)
    with watch.progress.working([A]):
        assert watch.stall_within(100 * LIMIT_S, watch.progress.beat) is None
        assert watch.stall_within(2 * LIMIT_S) is not None


def test_work_on_one_topic_says_nothing_of_another(watch: Watch) -> None:
    watch.progress.assign([A, LABELS])
    watch.brokers.known = {A: Standing(5, 9), LABELS: Standing(0, 3)}
    with watch.progress.working([A]):
        assert str(watch.stall_within(10 * LIMIT_S, watch.progress.beat)).startswith("person.labels[0]@0")


def test_time_in_which_the_brokers_do_not_answer_does_not_count(watch: Watch) -> None:
    assert watch.stall_within(LIMIT_S - LOOKS_EVERY_S) is None
    watch.brokers.answer = False
    assert watch.stall_within(10 * LIMIT_S) is None
    watch.brokers.answer = True
    assert watch.stall_within(LIMIT_S - LOOKS_EVERY_S) is None
    assert watch.stall_within(LIMIT_S) is not None


def test_time_in_which_the_process_stood_still_does_not_count(watch: Watch) -> None:
    """Promise: a machine that slept, or a worker that was paused from outside, wakes up and goes on."""
    assert watch.stall_within(LIMIT_S / 2) is None
    watch.time.now_s += 10 * LIMIT_S
    assert watch.dog.look() is None
    assert watch.stall_within(LIMIT_S - LOOKS_EVERY_S) is None


def test_a_transactions_marker_is_no_message_and_is_looked_at_once(watch: Watch) -> None:
    watch.brokers.marker_only = {A}
    assert watch.stall_within(10 * LIMIT_S) is None
    assert watch.brokers.read == 1
    watch.brokers.known[A] = replace(watch.brokers.known[A], end=10)
    watch.brokers.marker_only = set()
    assert watch.stall_within(2 * LIMIT_S) is not None


def test_nothing_is_a_stall_if_the_log_cannot_be_read(watch: Watch) -> None:
    def away(*_: Any) -> bool:
        raise Unavailable("kafka", "it is away")

    watch.brokers.holds_message = away  # type: ignore[method-assign]
    assert watch.stall_within(3 * LIMIT_S) is None


def test_a_partition_that_was_given_up_is_not_watched(watch: Watch) -> None:
    watch.progress.revoke([A, B])
    watch.progress.assign([B])
    assert watch.stall_within(10 * LIMIT_S) is None


def test_an_assignment_that_never_comes_is_a_stall(watch: Watch) -> None:
    watch.progress.revoke([A, B])
    assert watch.stall_within(2 * LIMIT_S) == "the assignment of partitions has not moved for 65 s"


def test_a_worker_may_own_nothing_for_ever(watch: Watch) -> None:
    watch.progress.assign([])
    assert watch.stall_within(10 * LIMIT_S) is None


def test_only_what_this_process_handled_is_acknowledged_by_it(watch: Watch) -> None:
    assert not watch.progress.has_acknowledged(A, 9)
    watch.progress.handled(A, 5)
    watch.progress.handled(A, 8)
    assert [watch.progress.has_acknowledged(A, offset) for offset in (5, 6)] == [False, True]


def test_each_answer_of_the_online_store_is_a_sign_of_life(watch: Watch, world: Any) -> None:
    store = Watched(world.online, watch.progress).at(0)
    with watch.progress.working([A]):
        watch.time.now_s += LIMIT_S
        assert store.states(["ann"]) == {}
        assert watch.progress.idle_s(A) == 0
    assert store.watermark("t", 0) is None
    assert store.advance_watermark("t", 0, None, 4, store.server("t", 0))


def test_a_surprise_does_not_end_the_watch(watch: Watch) -> None:
    """Promise: whatever a look raises, the next one follows."""
    found: queue.SimpleQueue[Stall] = queue.SimpleQueue()
    answers = iter([KeyError("a surprise"), None, Stall("t[0]@1", 61)])

    class Dog(Watchdog):
        """A watchdog whose looks are written down."""

        def look(self) -> Stall | None:
            answer = next(answers)
            if isinstance(answer, Exception):
                raise answer
            return answer

    watch_with(Dog(watch.progress, watch.brokers, LIMIT_S), 0.001, found.put)
    assert found.get(timeout=5) == Stall("t[0]@1", 61)
