"""Who stands beside the champion: its canary and its shadows."""

from datetime import timedelta

from predictor.messages import Serving
from predictor.shelf import Shelf, ShelfRules
from tests.fake_registry import FakeSource, HandClock, version


def beside(serving: Serving | None) -> list[tuple[str, str]]:
    assert serving is not None
    return [(each.alias, each.model.version) for each in serving.shadows]


async def test_the_challenger_is_a_shadow_as_long_as_it_is_challenger(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2)
    await shelf.refresh()
    assert beside(shelf.champion) == [("challenger", "2")]
    del source.aliases["challenger"]
    await shelf.refresh()
    assert beside(shelf.champion) == []


async def test_the_previous_model_is_a_shadow_for_a_time_after_a_promotion(source: FakeSource, hand_clock: HandClock):
    shelf = Shelf(source, hand_clock, ShelfRules(previous_for=timedelta(minutes=10)))
    await shelf.refresh()
    hand_clock.turn(timedelta(hours=1))
    source.promote(2)
    await shelf.refresh()
    hand_clock.turn(timedelta(minutes=9))
    await shelf.refresh()
    assert beside(shelf.champion) == [("previous", "1")]
    hand_clock.turn(timedelta(minutes=2))
    await shelf.refresh()
    assert beside(shelf.champion) == []


async def test_nobody_is_his_own_shadow_or_canary(shelf: Shelf, source: FakeSource):
    """Promise: in the midst of a promotion one version holds two aliases; it is not compared with itself."""
    await shelf.refresh()
    source.aliases |= {"champion": version(2), "challenger": version(2, tags={"canary_percent": "50"}), "previous": version(2)}
    await shelf.refresh()
    assert (beside(shelf.champion), shelf.champion.canary) == ([], None)


async def test_who_is_no_champion_has_neither(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2, tags={"canary_percent": "50"})
    await shelf.refresh()
    challenger = await shelf.find("challenger")
    assert (challenger.canary, challenger.shadows) == (None, ())


async def test_without_shadowing_a_canary_goes_on(source: FakeSource, hand_clock: HandClock):
    shelf = Shelf(source, hand_clock, ShelfRules(shadowing=False))
    source.aliases["challenger"] = version(2, tags={"canary_percent": "50"})
    await shelf.refresh()
    assert shelf.champion.shadows == ()
    assert shelf.champion.canary.model.version == "2"


async def test_the_tag_of_the_challenger_sets_the_canary_and_is_followed(shelf: Shelf, source: FakeSource):
    for percent in ("0", "7.5", "100", "0"):
        source.aliases["challenger"] = version(2, tags={"canary_percent": percent})
        await shelf.refresh()
        assert shelf.champion.canary_percent == float(percent)
        assert (shelf.champion.canary is None) == (percent == "0")
    assert source.loads == ["1", "2"]


async def test_the_tag_of_another_version_sets_nothing(shelf: Shelf, source: FakeSource):
    source.aliases |= {"champion": version(1, tags={"canary_percent": "50"}), "challenger": version(2)}
    source.aliases["previous"] = version(3, tags={"canary_percent": "50"})
    await shelf.refresh()
    assert shelf.champion.canary is None


async def test_a_request_keeps_the_canary_and_the_shadows_that_it_looked_up(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2, tags={"canary_percent": "100"})
    await shelf.refresh()
    held = await shelf.find("champion")
    source.promote(3)
    del source.aliases["challenger"]
    await shelf.refresh()
    assert held.for_person("p1").model.version == "2"
    assert beside(held) == [("challenger", "2")]
