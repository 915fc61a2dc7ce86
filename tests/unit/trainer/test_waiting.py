"""Waiting for labels: until enough have come and no more come, or until the deadline."""

from collections.abc import Callable, Iterator

import pytest

from runtime.errors import NotEnoughData
from trainer.waiting import Patience, wait_for_labels


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


def counts(*values: int) -> Callable[[], int]:
    """Gives the values in turn, then the last for ever."""
    left: Iterator[int] = iter(values)
    return lambda: next(left, values[-1])


def waited(count: Callable[[], int], time: Time) -> int:
    return wait_for_labels(count, Patience(100, settle_s=3, deadline_s=20), sleep=time.sleep, monotonic=time.monotonic)


def test_it_waits_until_enough_have_come_and_settled() -> None:
    time = Time()
    assert waited(counts(0, 50, 120, 150, 150), time) == 150
    assert time.now == 6.0


def test_at_the_deadline_it_goes_on_with_what_is_enough() -> None:
    time = Time()
    assert waited(counts(*range(90, 200)), time) >= 100
    assert time.now == 20.0


def test_at_the_deadline_it_says_how_many_are_missing() -> None:
    with pytest.raises(NotEnoughData, match="40 labelled rows since the drift after 20 s of waiting, 100 are needed"):
        waited(counts(40), Time())
