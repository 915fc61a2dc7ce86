"""An effect is tried a bounded number of times, each try is told, and a stop ends the pauses between them."""

import pytest

from runtime.errors import HistoryConflict, Unavailable
from streams.persistence import Attempt, Persistence


class Flaky:
    """Fails some times, then answers."""

    def __init__(self, failures: int) -> None:
        self.calls, self.failures = 0, failures

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise Unavailable("redis", "it is away")
        return "done"


def test_each_try_is_told_well_or_not() -> None:
    told: list[Attempt] = []
    assert Persistence(3, lambda _: False, told.append).do(Flaky(2), "writing", "t[0]@1-2") == "done"
    assert [(each.what, each.failed) for each in told] == [("writing", True), ("writing", True), ("writing", False)]
    assert all(each.seconds >= 0 for each in told)


def test_a_stop_during_a_pause_ends_the_tries() -> None:
    effect, pauses_s = Flaky(9), []

    def asked_to_stop(pause_s: float) -> bool:
        pauses_s.append(pause_s)
        return len(pauses_s) == 2

    with pytest.raises(Unavailable):
        Persistence(9, asked_to_stop).do(effect, "writing", "t[0]@1-2")
    assert effect.calls == 2


def test_what_no_try_mends_is_told_and_not_tried_again() -> None:
    told: list[Attempt] = []

    def taken() -> None:
        raise HistoryConflict("another owner")

    with pytest.raises(HistoryConflict):
        Persistence(3, lambda _: False, told.append).do(taken, "writing", "t[0]@1-2")
    assert [each.failed for each in told] == [True]
