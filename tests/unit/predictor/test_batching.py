"""Requests are gathered while batches are on their way, and each gets its own outcome; an idle server lets nobody wait."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.batching import QUIET_TURNS, Batcher
from predictor.messages import PredictionRequest
from runtime.errors import HabitusError, Unavailable


class Core:
    """Answers a request with its own id, once the batch is let go."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gates: list[asyncio.Event] = []
        self.is_held = False
        self.error: Exception | None = None

    async def predict(self, requests: Sequence[PredictionRequest | HabitusError]) -> list[Any]:
        self.batches.append([each.request_id for each in requests if isinstance(each, PredictionRequest)])
        gate = asyncio.Event()
        self.gates.append(gate)
        if self.is_held:
            await gate.wait()
        if self.error:
            raise self.error
        return [each if isinstance(each, HabitusError) else each.request_id for each in requests]


def asked(batcher: Batcher, *ids: int) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(batcher.submit(PredictionRequest(person_id="p", request_id=str(number)))) for number in ids]


async def turns(count: int = 3 * QUIET_TURNS) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_arrives_in_one_turn_of_the_loop_is_one_batch() -> None:
    core = Core()
    assert await asyncio.gather(*asked(Batcher(core.predict), *range(5))) == ["0", "1", "2", "3", "4"]
    assert core.batches == [["0", "1", "2", "3", "4"]]


async def test_a_request_waits_for_nothing_while_no_batch_is_on_its_way() -> None:
    core = Core()
    batcher = Batcher(core.predict)
    for number in range(3):
        assert await asked(batcher, number)[0] == str(number)
    assert core.batches == [["0"], ["1"], ["2"]]


async def test_what_arrives_while_batches_are_on_their_way_is_gathered() -> None:
    core = Core()
    core.is_held = True
    batcher = Batcher(core.predict, on_their_way=2)
    tasks = []
    for number in range(6):
        tasks += asked(batcher, number)
        await turns()
    assert core.batches == [["0"], ["1"]]
    assert batcher.waiting == 4
    core.is_held = False
    core.gates[0].set()
    await turns()
    assert core.batches == [["0"], ["1"], ["2", "3", "4", "5"]]
    core.gates[1].set()
    assert await asyncio.gather(*tasks) == [str(number) for number in range(6)]


async def test_no_batch_is_larger_than_the_largest() -> None:
    core = Core()
    await asyncio.gather(*asked(Batcher(core.predict, largest=4), *range(10)))
    assert [len(batch) for batch in core.batches] == [4, 4, 2]


async def test_who_is_cancelled_before_the_batch_left_is_not_in_it() -> None:
    core = Core()
    core.is_held = True
    batcher = Batcher(core.predict, on_their_way=1)
    tasks = asked(batcher, 0)
    await turns()
    tasks += asked(batcher, 1, 2)
    await turns()
    tasks[1].cancel()
    await turns()
    core.is_held = False
    core.gates[0].set()
    answered = await asyncio.gather(*tasks, return_exceptions=True)
    assert (answered[0], answered[2], tasks[1].cancelled()) == ("0", "2", True)
    assert core.batches == [["0"], ["2"]]


async def test_an_error_of_a_whole_batch_is_told_to_each_and_the_next_batch_goes() -> None:
    core = Core()
    core.error = Unavailable("redis", "gone")
    batcher = Batcher(core.predict, on_their_way=1)
    assert await asyncio.gather(*asked(batcher, 0, 1), return_exceptions=True) == [core.error, core.error]
    core.error = None
    assert await asked(batcher, 2)[0] == "2"


async def test_a_request_that_no_transport_could_read_stays_its_own_error() -> None:
    error = HabitusError("unreadable")
    assert await Batcher(Core().predict).submit(error) is error


@given(st.lists(st.integers(1, 5), min_size=1, max_size=12), st.integers(1, 3), st.integers(1, 4))
def test_each_gets_its_own_outcome_however_they_arrive(bursts: list[int], on_their_way: int, largest: int) -> None:
    async def run() -> None:
        core = Core()
        batcher = Batcher(core.predict, on_their_way=on_their_way, largest=largest)
        tasks, number = [], 0
        for burst in bursts:
            tasks += asked(batcher, *range(number, number + burst))
            number += burst
            await turns(burst % 3)
        assert await asyncio.gather(*tasks) == [str(each) for each in range(number)]
        assert sorted(int(each) for batch in core.batches for each in batch) == list(range(number))
        assert batcher.waiting == 0

    asyncio.run(run())


@pytest.mark.parametrize("on_their_way", [1, 2])
async def test_no_more_batches_are_on_their_way_than_allowed(on_their_way: int) -> None:
    core = Core()
    core.is_held = True
    batcher = Batcher(core.predict, on_their_way=on_their_way, largest=1)
    tasks = asked(batcher, *range(5))
    await turns()
    assert len(core.batches) == on_their_way
    for _ in range(5):
        for gate in core.gates:
            gate.set()
        await turns()
    assert await asyncio.gather(*tasks) == [str(number) for number in range(5)]


async def test_a_batch_that_nobody_waits_for_any_more_ends_and_others_go_on() -> None:
    core = Core()
    core.is_held = True
    batcher = Batcher(core.predict, on_their_way=1)
    first = asked(batcher, 0, 1)
    await turns()
    second = asked(batcher, 2)
    first[0].cancel()
    await turns()
    assert core.batches == [["0", "1"]]
    core.is_held = False
    first[1].cancel()
    assert await second[0] == "2"
