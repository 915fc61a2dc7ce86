"""A record that the code cannot take costs itself and nothing else."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import Unavailable
from streams.messages import Message, Shard
from streams.poison import without_poison
from streams.validation import Accepted, sort_out

World = Any  # of this folder's conftest


def message(number: int) -> Message:
    return Message(Shard("t", 0), number, 0, b"k", b"%d" % number)


def summing(bad: set[int], runs: list[int]) -> Callable[[Sequence[Accepted[int]]], int]:
    """Work that sums numbers and fails on those in `bad`."""

    def work(accepted: Sequence[Accepted[int]]) -> int:
        runs.append(len(accepted))
        if any(each.content in bad for each in accepted):
            raise ZeroDivisionError
        return sum(each.content for each in accepted)

    return work


@given(count=st.integers(0, 40), bad=st.sets(st.integers(0, 39), max_size=5))
def test_exactly_the_poison_is_taken_out(count: int, bad: set[int]) -> None:
    accepted = [Accepted(message(number), number) for number in range(count)]
    rest, made, rejected = without_poison(accepted, summing(bad, []))
    found = bad & set(range(count))
    assert [each.message.offset for each in rejected] == sorted(found)
    assert made == sum(set(range(count)) - found)
    assert [each.content for each in rest] == sorted(set(range(count)) - found)


def test_poison_is_found_in_few_runs() -> None:
    runs: list[int] = []
    without_poison([Accepted(message(number), number) for number in range(1024)], summing({700}, runs))
    assert len(runs) <= 13


def test_a_record_that_fails_only_after_another_is_the_poison() -> None:
    def work(accepted: Sequence[Accepted[int]]) -> int:
        if {3, 5} <= {each.content for each in accepted}:
            raise ValueError
        return len(accepted)

    _, made, rejected = without_poison([Accepted(message(number), number) for number in range(8)], work)
    assert ([each.message.offset for each in rejected], made) == ([5], 7)


@pytest.mark.parametrize("error", [Unavailable("redis", "away"), MemoryError(), OSError("disk")])
def test_what_no_record_can_cause_is_no_poison(error: Exception) -> None:
    def fail(_: object) -> int:
        raise error

    with pytest.raises(type(error)):
        without_poison([Accepted(message(0), 0)], fail)
    with pytest.raises(type(error)):
        sort_out([message(0)], fail)


def test_a_message_on_which_reading_fails_is_rejected_alone() -> None:
    def read(each: Message) -> bytes:
        if each.offset == 1:
            raise RecursionError("too deep")
        return each.value or b""

    outcome = sort_out(map(message, range(3)), read)
    assert [each.content for each in outcome.accepted] == [b"0", b"2"]
    (rejected,) = outcome.rejected
    assert (rejected.error.error_class, rejected.message.offset) == ("poison", 1)
    assert "RecursionError: too deep" in rejected.error.reason
