"""What waiting promises."""

from itertools import islice

import pytest

from runtime.errors import HistoryConflict, Unavailable
from runtime.retry import LONGEST_PAUSE_S, pauses, wait_for, wait_for_async


def test_it_tries_until_the_part_is_there():
    answers = iter([Unavailable("redis", "down"), Unavailable("redis", "down"), "up"])
    slept: list[float] = []

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, Unavailable):
            raise answer
        return answer

    assert wait_for(attempt, sleep=slept.append) == "up"
    assert slept == [0.2, 0.4]


def test_another_error_is_not_waited_out():
    def attempt() -> None:
        raise HistoryConflict("taken")

    with pytest.raises(HistoryConflict):
        wait_for(attempt, sleep=lambda _: None)


async def test_coroutines_are_waited_for_alike():
    async def attempt() -> int:
        return 7

    assert await wait_for_async(attempt) == 7


def test_pauses_double_up_to_a_bound():
    first = list(islice(pauses(), 12))
    assert first[:3] == [0.2, 0.4, 0.8]
    assert max(first) == LONGEST_PAUSE_S
