"""What happens with a model that fails its load check."""

import threading

import pytest

from predictor.adapters.refusals import RefusalTeller
from predictor.shelf import Refusal, Shelf, ShelfRules
from runtime.errors import ModelRefused
from runtime.events import ModelEvent
from tests.fake_registry import FakeSource, HandClock, until, version


@pytest.fixture
def told() -> list[Refusal]:
    return []


@pytest.fixture
def shelf(source: FakeSource, hand_clock: HandClock, told: list[Refusal]) -> Shelf:
    return Shelf(source, hand_clock, ShelfRules(on_refusal=told.append))


async def test_a_refused_champion_leaves_the_old_one_and_is_not_tried_again(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases["champion"] = version(9)
    for _ in range(3):
        await shelf.refresh()
    assert shelf.champion.model.version == "1"
    assert source.loads == ["1", "9"]
    assert source.kept == {"champion": "1"}
    source.aliases["champion"] = version(3)
    await shelf.refresh()
    assert shelf.champion.model.version == "3"


async def test_a_refused_version_is_tried_again_when_its_alias_came_back_to_it(shelf: Shelf, source: FakeSource):
    for number in (9, 1, 9):
        source.aliases["champion"] = version(number)
        await shelf.refresh()
    assert source.loads == ["9", "1", "9"]


async def test_a_refusal_is_told_once_a_version(shelf: Shelf, source: FakeSource, told: list[Refusal]):
    """Promise: neither polls, nor other aliases, nor an alias that comes back tell it again; another registry's is told."""
    for number in (9, 9, 1, 9):
        source.aliases["champion"] = version(number)
        await shelf.refresh()
    source.aliases["challenger"] = version(9)
    await shelf.refresh()
    assert [(each.alias, each.version.version) for each in told] == [("champion", "9")]
    source.aliases["champion"] = version(9, source="m-2")
    await shelf.refresh()
    assert len(told) == 2


async def test_files_that_cannot_be_fetched_are_no_refusal(shelf: Shelf, source: FakeSource, told: list[Refusal]):
    source.lost = {"1"}
    with pytest.raises(Exception, match="files are gone"):
        await shelf.refresh()
    source.lost = set()
    await shelf.refresh()
    assert (told, shelf.champion.model.version) == ([], "1")


async def test_a_refused_alias_says_so(shelf: Shelf, source: FakeSource):
    source.aliases["tuned"] = version(9)
    for _ in range(2):
        with pytest.raises(ModelRefused):
            await shelf.find("tuned")
    assert source.loads == ["9"]


async def test_who_serves_on_for_a_refused_challenger_is_compared_no_more(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2, tags={"canary_percent": "50"})
    await shelf.refresh()
    assert shelf.champion.canary is not None
    source.aliases["challenger"] = version(9)
    await shelf.refresh()
    assert (shelf.champion.canary, shelf.champion.shadows) == (None, ())
    assert (await shelf.find("challenger")).model.version == "2"


class Announcer:
    """Keeps what it is told; Kafka is there or gone."""

    def __init__(self) -> None:
        self.events: list[ModelEvent] = []

    def announce(self, event: ModelEvent) -> bool:
        self.events.append(event)
        return True


async def test_a_refusal_becomes_an_event_that_says_why(hand_clock: HandClock):
    announcer = Announcer()
    RefusalTeller(announcer, hand_clock)(Refusal("champion", version(9), ModelRefused("too slow", remedy="a smaller model")))
    await until(lambda: announcer.events)
    [event] = announcer.events
    assert (event.type, event.model_version, event.time) == ("ModelRefused", "9", hand_clock.now())
    assert event.decision == {"outcome": "refused", "alias": "champion", "reason": "too slow", "remedy": "a smaller model"}


async def test_telling_waits_for_nobody(hand_clock: HandClock):
    """Promise: a Kafka that hangs holds nothing up; the teller comes back before the announcer does."""
    going, done = threading.Event(), threading.Event()

    class Stuck(Announcer):
        def announce(self, event: ModelEvent) -> bool:
            going.wait(5)
            done.set()
            return super().announce(event)

    RefusalTeller(Stuck(), hand_clock)(Refusal("champion", version(9), ModelRefused("bad")))
    assert not done.is_set()
    going.set()
    await until(done.is_set)
