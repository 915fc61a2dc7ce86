"""Which model serves under which alias."""

import asyncio

import pytest

from predictor.shelf import Shelf, keep_fresh
from runtime.errors import Unavailable, UnknownModel
from runtime.registry import ModelVersion
from tests.fake_registry import FakeSource, ended, until, version


async def test_nothing_serves_before_the_first_load(shelf: Shelf):
    with pytest.raises(Unavailable) as caught:
        await shelf.find("champion")
    assert "habitus train" in caught.value.remedy


async def test_the_champion_serves_and_is_loaded_once(shelf: Shelf, source: FakeSource):
    for _ in range(3):
        await shelf.refresh()
    assert (await shelf.find("champion")).model.version == "1"
    assert source.loads == ["1"]
    assert source.kept == {"champion": "1"}


async def test_a_new_champion_takes_over(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases["champion"] = version(2)
    await shelf.refresh()
    assert shelf.champion.model.version == "2"


async def test_the_same_number_from_another_registry_is_another_version(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases["champion"] = version(1, source="m-2")
    await shelf.refresh()
    assert source.loads == ["1", "1"]


async def test_a_champion_serves_on_when_its_alias_is_taken_away(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases.clear()
    await shelf.refresh()
    assert shelf.champion.model.version == "1"


async def test_the_challenger_is_loaded_before_anybody_asks_and_ends_with_its_alias(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2)
    await shelf.refresh()
    assert source.loads == ["1", "2"]
    source.aliases["challenger"] = version(3)
    await shelf.refresh()
    assert (await shelf.find("challenger")).model.version == "3"
    del source.aliases["challenger"]
    await shelf.refresh()
    with pytest.raises(UnknownModel):
        await shelf.find("challenger")


async def test_another_alias_is_loaded_when_asked_for_and_followed_from_then_on(shelf: Shelf, source: FakeSource):
    source.aliases["tuned"] = version(2)
    await shelf.refresh()
    assert source.loads == ["1"]
    assert (await shelf.find("tuned")).model.version == "2"
    source.aliases["tuned"] = version(3)
    await shelf.refresh()
    assert (await shelf.find("tuned")).model.version == "3"


async def test_a_version_under_two_aliases_is_loaded_once(shelf: Shelf, source: FakeSource):
    source.aliases["tuned"] = version(1)
    await shelf.refresh()
    assert (await shelf.find("tuned")).model is shelf.champion.model
    assert source.loads == ["1"]


async def test_an_unknown_alias_is_asked_for_once_until_the_next_refresh(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    for _ in range(3):
        with pytest.raises(UnknownModel):
            await shelf.find("nobody")
    assert source.asked.count("nobody") == 1
    source.aliases["nobody"] = version(5)
    await shelf.refresh()
    assert (await shelf.find("nobody")).model.version == "5"


async def test_the_copies_of_all_that_serves_are_in_use(shelf: Shelf, source: FakeSource):
    source.aliases |= {"challenger": version(2), "previous": version(3)}
    await shelf.refresh()
    assert sorted(source.tidied) == ["1", "2", "3"]


async def test_the_loop_refreshes_when_woken(shelf: Shelf, source: FakeSource):
    wake = asyncio.Event()
    loop = asyncio.create_task(keep_fresh(shelf, wake, poll_s=60))
    await until(lambda: shelf.champion is not None)
    source.aliases["champion"] = version(2)
    wake.set()
    await until(lambda: shelf.champion.model.version == "2")
    await ended(loop)


async def test_a_wake_during_a_refresh_is_followed_by_another(shelf: Shelf, source: FakeSource):
    """Promise: what is said while the registry is looked at is not lost until the poll."""
    wake, seen = asyncio.Event(), source.current

    def current(alias: str) -> ModelVersion | None:
        found = seen(alias)
        if alias == "champion" and found == version(1):
            source.aliases["champion"] = version(2)
            asyncio.run_coroutine_threadsafe(_set(wake), running).result()
        return found

    source.current, running = current, asyncio.get_running_loop()
    loop = asyncio.create_task(keep_fresh(shelf, wake, poll_s=60))
    await until(lambda: shelf.champion is not None and shelf.champion.model.version == "2")
    await ended(loop)


async def _set(wake: asyncio.Event) -> None:
    wake.set()
