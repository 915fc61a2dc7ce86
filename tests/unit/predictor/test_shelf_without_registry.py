"""What serves while the registry is gone or gives no champion that may serve."""

import asyncio

import pytest

from predictor.shelf import Shelf, keep_fresh
from runtime.errors import Unavailable
from tests.fake_registry import FakeSource, ended, until, version


async def test_a_registry_that_goes_leaves_the_model_that_serves(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.down = True
    with pytest.raises(Unavailable):
        await shelf.refresh()
    assert shelf.champion.model.version == "1"


async def test_without_a_registry_at_start_the_local_copy_serves(shelf: Shelf, source: FakeSource):
    source.down, source.kept = True, {"champion": "4"}
    with pytest.raises(Unavailable):
        await shelf.refresh()
    assert shelf.champion.model.version == "4"
    source.down = False
    await shelf.refresh()
    assert shelf.champion.model.version == "1"


async def test_at_start_a_refused_champion_leaves_the_last_good_one(shelf: Shelf, source: FakeSource):
    """Promise: a restart while the registry names a model that must not serve is no outage."""
    source.aliases["champion"], source.kept = version(9), {"champion": "4"}
    await shelf.refresh()
    assert shelf.champion.model.version == "4"


async def test_a_registry_that_names_no_champion_is_believed(shelf: Shelf, source: FakeSource):
    """Promise: a local copy stands in for a registry that does not answer, not for one that says there is none."""
    source.aliases.clear()
    source.kept = {"champion": "4"}
    await shelf.refresh()
    assert shelf.champion is None


async def test_without_a_registry_an_alias_that_is_not_loaded_is_refused_at_once(shelf: Shelf, source: FakeSource):
    """Promise: no request waits for a registry that was found to be gone."""
    await shelf.refresh()
    source.down = True
    for _ in range(3):
        with pytest.raises(Unavailable):
            await shelf.find("tuned")
    assert source.asked.count("tuned") == 1
    source.down, source.aliases["tuned"] = False, version(5)
    await shelf.refresh()
    assert (await shelf.find("tuned")).model.version == "5"


async def test_one_alias_whose_files_are_gone_does_not_hold_up_the_others(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases |= {"champion": version(2), "challenger": version(3), "previous": version(4)}
    source.lost = {"3"}
    with pytest.raises(Unavailable):
        await shelf.refresh()
    assert shelf.champion.model.version == "2"
    assert (await shelf.find("previous")).model.version == "4"


async def test_the_loop_polls_and_survives_a_registry_that_is_gone(shelf: Shelf, source: FakeSource):
    source.down = True
    loop = asyncio.create_task(keep_fresh(shelf, asyncio.Event(), poll_s=0.01))
    await until(lambda: len(source.asked) > 1)
    source.down = False
    await until(lambda: shelf.champion is not None)
    source.down = True
    seen = len(source.asked)
    await until(lambda: len(source.asked) > seen + 1)
    source.aliases["champion"] = version(2)
    source.down = False
    await until(lambda: shelf.champion.model.version == "2")
    await ended(loop)


async def test_a_registry_that_comes_back_is_not_first_seen_at_the_next_poll(shelf: Shelf, source: FakeSource):
    source.down = True
    loop = asyncio.create_task(keep_fresh(shelf, asyncio.Event(), poll_s=3600))
    await until(lambda: source.asked)
    source.down = False
    await until(lambda: shelf.champion is not None)
    await ended(loop)
