"""What is acknowledged and when: only what was handled to its end, and only by whom the group still knows as its owner."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from streams.app import Supervision, _Path
from streams.handlers import Applied
from streams.messages import Message, Shard
from streams.metrics import Metrics
from streams.supervision.progress import Progress

TOPIC, OURS, THEIRS = "person.records", Shard("person.records", 0), Shard("person.records", 1)
GENERATION = 7


class Stage:
    """A path of records whose handler can be looked into, in a group of generation GENERATION."""

    def __init__(self, world: Any) -> None:
        self.app = SimpleNamespace(consumer_generation_id=GENERATION)
        self.handled: list[int] = []
        self.acknowledged: list[int] = []
        self.meanwhile: Callable[[], object] = lambda: None
        supervision = Supervision(Progress(60), Metrics(CollectorRegistry()), is_replaced=lambda: False, end=pytest.fail)
        self.path = _Path(self.app, TOPIC, self._handle, world.shelf, world.features, supervision=supervision)
        self.path.take_over([OURS])

    def event(self, offset: int, shard: Shard = OURS, generation: int = GENERATION) -> Any:
        message = SimpleNamespace(
            topic=shard.topic, partition=shard.partition, offset=offset, timestamp=0.0, key=b"k", value=b"v", headers={},
            generation_id=generation,
        )  # fmt: skip
        return SimpleNamespace(message=message, ack=lambda: self.acknowledged.append(offset))

    def _handle(self, messages: Sequence[Message], *_: Any) -> Applied:
        assert not self.acknowledged, "acknowledged before it was handled"
        self.handled += [each.offset for each in messages]
        self.meanwhile()
        return Applied()


@pytest.fixture
def stage(world: Any) -> Stage:
    return Stage(world)


def _fail() -> None:
    raise ConnectionError("the handler fails")


async def test_a_batch_is_acknowledged_when_it_is_handled_and_not_before(stage: Stage) -> None:
    await stage.path.handle([stage.event(0), stage.event(1)])
    assert (stage.handled, stage.acknowledged) == ([0, 1], [0, 1])


async def test_of_a_batch_that_failed_nothing_is_acknowledged(stage: Stage) -> None:
    stage.meanwhile = _fail
    with pytest.raises(ConnectionError):
        await stage.path.handle([stage.event(0), stage.event(1)])
    assert stage.acknowledged == []


async def test_what_was_delivered_before_the_group_changed_is_neither_handled_nor_acknowledged(stage: Stage) -> None:
    """Promise: such a message comes again, and its predecessors may come before it, or its partition may be another's."""
    await stage.path.handle([stage.event(0, generation=GENERATION - 1), stage.event(5)])
    assert (stage.handled, stage.acknowledged) == ([5], [5])


async def test_what_another_owns_is_neither_handled_nor_acknowledged(stage: Stage) -> None:
    await stage.path.handle([stage.event(0, shard=THEIRS), stage.event(5)])
    assert (stage.handled, stage.acknowledged) == ([5], [5])


async def test_a_batch_that_outlived_its_generation_is_not_acknowledged(stage: Stage) -> None:
    stage.meanwhile = lambda: setattr(stage.app, "consumer_generation_id", GENERATION + 1)
    await stage.path.handle([stage.event(0)])
    assert (stage.handled, stage.acknowledged) == ([0], [])


async def test_a_partition_is_handed_over_when_the_batch_in_hand_is_done(stage: Stage) -> None:
    """Promise: its next owner finds that batch in the history; and what comes later is not touched."""
    begun, over, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()
    stage.meanwhile = lambda: (loop.call_soon_threadsafe(begun.set), over.wait(5))
    batch = asyncio.create_task(stage.path.handle([stage.event(0)]))
    await begun.wait()
    handing_over = asyncio.create_task(stage.path.hand_over({OURS}))
    await asyncio.sleep(0)
    assert not handing_over.done()
    over.set()
    await asyncio.gather(batch, handing_over)
    await stage.path.handle([stage.event(1)])
    assert (stage.handled, stage.acknowledged) == ([0], [0])
