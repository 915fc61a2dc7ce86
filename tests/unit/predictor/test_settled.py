"""Memory is settled once, before anybody is told that the predictor serves."""

import gc
from collections.abc import Iterator

import pytest

from predictor.settled import settled_first


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    gc.unfreeze()
    yield
    gc.unfreeze()


async def test_it_is_frozen_before_the_first_serving_and_not_while_waiting():
    said: list[tuple[bool, bool]] = []

    async def say(*, serving: bool) -> None:
        said.append((serving, gc.get_freeze_count() > 0))

    settled = settled_first(say)
    await settled(serving=False)
    await settled(serving=True)
    assert said == [(False, False), (True, True)]


async def test_what_came_after_the_first_serving_is_never_frozen():
    async def say(*, serving: bool) -> None:
        pass

    settled = settled_first(say)
    await settled(serving=True)
    gc.unfreeze()
    await settled(serving=False)
    await settled(serving=True)
    assert gc.get_freeze_count() == 0
