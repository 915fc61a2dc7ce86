"""Going back costs no load: what served lately is still in memory."""

from datetime import timedelta

import pytest

from predictor.shelf import Shelf, ShelfRules
from predictor.warm import MOST_LINGERING
from runtime.registry import Alias
from tests.fake_registry import FakeSource, HandClock, version


async def test_a_rollback_loads_nothing(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.promote(2)
    await shelf.refresh()
    source.promote(1)
    await shelf.refresh()
    assert shelf.champion.model.version == "1"
    assert source.loads == ["1", "2"]


async def test_a_rollback_loads_nothing_even_where_no_alias_kept_the_old_version(shelf: Shelf, source: FakeSource):
    for number in (1, 2, 1):
        source.aliases["champion"] = version(number)
        await shelf.refresh()
    assert source.loads == ["1", "2"]


async def test_after_a_restart_the_previous_model_is_loaded_before_it_is_needed(shelf: Shelf, source: FakeSource):
    source.aliases["previous"] = version(2)
    await shelf.refresh()
    source.promote(2)
    await shelf.refresh()
    assert source.loads == ["1", "2"]


async def test_a_promoted_challenger_is_not_loaded_again(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2)
    await shelf.refresh()
    source.promote(2)
    await shelf.refresh()
    assert (shelf.champion.model.version, source.loads) == ("2", ["1", "2"])


async def test_the_previous_model_is_forgotten_when_its_time_is_over(source: FakeSource, hand_clock: HandClock):
    shelf = Shelf(source, hand_clock, ShelfRules(previous_for=timedelta(minutes=10)))
    await shelf.refresh()
    source.promote(2)
    for _ in range(30):
        await shelf.refresh()
        hand_clock.turn(timedelta(minutes=1))
    source.promote(1)
    await shelf.refresh()
    assert source.loads == ["1", "2", "1"]


async def test_a_previous_model_that_is_asked_for_stays(source: FakeSource, hand_clock: HandClock):
    shelf = Shelf(source, hand_clock, ShelfRules(previous_for=timedelta(0)))
    source.aliases["previous"] = version(2)
    await shelf.refresh()
    hand_clock.turn(timedelta(seconds=1))
    await shelf.refresh()
    assert (await shelf.find(Alias.PREVIOUS)).model.version == "2"
    await shelf.refresh()
    assert shelf.champion.shadows == ()
    assert (await shelf.find(Alias.PREVIOUS)).model.version == "2"


async def test_however_often_models_change_few_stay_in_memory(shelf: Shelf, source: FakeSource):
    for number in (1, 2, 3, 4, 5, 6):
        source.aliases["champion"] = version(number)
        await shelf.refresh()
    await shelf.refresh()
    for number in (5, 4, 1):
        source.aliases["champion"] = version(number)
        await shelf.refresh()
    assert MOST_LINGERING == 2
    assert source.loads == ["1", "2", "3", "4", "5", "6", "1"]


@pytest.mark.parametrize("previous_for", [timedelta(0), timedelta(hours=1)])
async def test_what_serves_is_never_forgotten(source: FakeSource, hand_clock: HandClock, previous_for: timedelta):
    shelf = Shelf(source, hand_clock, ShelfRules(previous_for=previous_for))
    source.aliases["challenger"] = version(2)
    for _ in range(5):
        await shelf.refresh()
        hand_clock.turn(timedelta(days=1))
    assert source.loads == ["1", "2"]
