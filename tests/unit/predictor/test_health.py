"""SERVING is said while Redis answers and a champion is there."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from predictor.adapters.health import missing, watch
from runtime.errors import Unavailable


class Store:
    """A Redis that can be down."""

    def __init__(self) -> None:
        self.down = False

    async def ping(self):
        if self.down:
            raise Unavailable("redis", "gone")


@pytest.mark.parametrize(
    ("down", "champion", "lacks"),
    [(False, True, ()), (True, True, ("redis",)), (False, False, ("model",)), (True, False, ("model", "redis"))],
)
async def test_both_redis_and_a_champion_are_needed(down: bool, champion: bool, lacks: Any):
    store = Store()
    store.down = down
    assert await missing(store.ping, lambda: champion) == lacks


async def test_changes_are_said_and_nothing_else():
    store, said, champion = Store(), [], []

    async def say(*, serving: bool) -> None:
        said.append(serving)

    task = asyncio.create_task(watch(store.ping, lambda: bool(champion), say, period_s=0.001))
    await _until(lambda: said == [False])
    champion.append(1)
    await _until(lambda: said == [False, True])
    store.down = True
    await _until(lambda: said == [False, True, False])
    store.down = False
    await _until(lambda: said == [False, True, False, True])
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.002)
