"""What does not answer is not asked again and again, and is found again by itself."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from predictor.protection.circuit import Circuit, GuardedReader
from runtime.errors import CircuitOpen, Unavailable, UnknownStateVersion

FAILURES, WITHIN_S, PAUSE_S = 3, 10.0, 1.0


class Scene:
    """A reader whose next answers are set, its circuit, and a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.answer: Any = []
        self.asked = 0
        self.circuit = Circuit("redis", failures=FAILURES, within_s=WITHIN_S, pause_s=PAUSE_S, monotonic=lambda: self.now_s)
        self.reader = GuardedReader(self, self.circuit, timeout_s=5.0)

    async def read(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        if isinstance(self.answer, asyncio.Event):
            await self.answer.wait()
            return []
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def ask(self) -> Any:
        return await self.reader.read(["p"], ["bmi"])

    async def fail(self, times: int) -> None:
        self.answer = Unavailable("redis", "gone")
        for _ in range(times):
            with pytest.raises(Unavailable):
                await self.ask()


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_after_enough_failures_nobody_asks_and_all_are_told_how_long_to_wait(scene: Scene):
    await scene.fail(FAILURES)
    scene.now_s = 0.25
    with pytest.raises(CircuitOpen) as caught:
        await scene.ask()
    assert scene.asked == FAILURES
    assert caught.value.retry_after.total_seconds() == pytest.approx(0.75)


async def test_a_success_between_failures_starts_the_count_anew(scene: Scene):
    for _ in range(5):
        await scene.fail(FAILURES - 1)
        scene.answer = []
        await scene.ask()
    assert not scene.circuit.is_open


async def test_failures_far_apart_do_not_open_it(scene: Scene):
    for _ in range(5):
        await scene.fail(1)
        scene.now_s += WITHIN_S
    assert not scene.circuit.is_open


async def test_one_probe_at_a_time_finds_the_recovery(scene: Scene):
    await scene.fail(FAILURES)
    scene.now_s, scene.answer = PAUSE_S, asyncio.Event()
    probe = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    for _ in range(10):
        with pytest.raises(CircuitOpen) as caught:
            await scene.ask()
        assert caught.value.retry_after.total_seconds() > 0
    assert scene.asked == FAILURES + 1
    scene.answer.set()
    await probe
    assert not scene.circuit.is_open
    assert await asyncio.gather(*(scene.ask() for _ in range(10))) == [[]] * 10


async def test_a_probe_that_fails_lets_all_wait_once_more(scene: Scene):
    await scene.fail(FAILURES)
    scene.now_s = PAUSE_S
    await scene.fail(1)
    scene.now_s = 1.9 * PAUSE_S
    with pytest.raises(CircuitOpen):
        await scene.ask()
    scene.now_s, scene.answer = 2 * PAUSE_S, []
    assert await scene.ask() == []


@pytest.mark.parametrize("end", ["cancelled", "an error of ours"])
async def test_a_probe_that_told_nothing_leaves_its_turn_to_the_next(scene: Scene, end: str):
    await scene.fail(FAILURES)
    scene.now_s = PAUSE_S
    if end == "cancelled":
        scene.answer = asyncio.Event()
        probe = asyncio.create_task(scene.ask())
        await asyncio.sleep(0)
        probe.cancel()
        with suppress(asyncio.CancelledError):
            await probe
    else:
        scene.answer = UnknownStateVersion(9, 1)
        with pytest.raises(UnknownStateVersion):
            await scene.ask()
    scene.answer = []
    assert await scene.ask() == []
    assert not scene.circuit.is_open


async def test_who_asked_before_it_opened_neither_probes_nor_opens_it_longer(scene: Scene):
    scene.answer = held = asyncio.Event()
    late = asyncio.create_task(scene.ask())
    await asyncio.sleep(0)
    await scene.fail(FAILURES)
    held.set()
    await late
    assert not scene.circuit.is_open  # it answered after all


async def test_an_answer_that_does_not_come_is_a_failure_in_bounded_time(scene: Scene):
    scene.answer = asyncio.Event()
    reader = GuardedReader(scene, scene.circuit, timeout_s=0.01)
    for _ in range(FAILURES):
        with pytest.raises(Unavailable, match="no answer within"):
            await reader.read(["p"], ["bmi"])
    with pytest.raises(CircuitOpen):
        await reader.read(["p"], ["bmi"])
