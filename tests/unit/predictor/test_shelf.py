"""Which model serves under which alias, and that a swap is never seen."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.labels import LEVELS
from predictor.handlers import Parts, predict
from predictor.messages import PredictionRequest
from predictor.model import ServedModel
from predictor.shelf import Shelf, keep_fresh
from runtime.errors import ModelRefused, Unavailable, UnknownModel
from runtime.registry import ModelVersion


def version(number: int, *, source: str = "m-1") -> ModelVersion:
    return ModelVersion("obesity-level", str(number), "run", source, datetime(2026, 1, 1, tzinfo=UTC), (), {})


@dataclass
class FakeSource:
    """A registry in memory: aliases to versions, versions to models or refusals."""

    aliases: dict[str, ModelVersion] = field(default_factory=dict)
    models: dict[str, ServedModel | ModelRefused] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    down: bool = False
    loads: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def current(self, alias: str):
        self.asked.append(alias)
        if self.down:
            raise Unavailable("mlflow", "gone")
        return self.aliases.get(alias)

    def load(self, version: ModelVersion):
        self.loads.append(version.version)
        found = self.models[version.version]
        if isinstance(found, ModelRefused):
            raise found
        return found

    def keep(self, alias: str, version: ModelVersion):
        self.kept[alias] = version.version

    def last_good(self, alias: str):
        found = self.models.get(self.kept.get(alias, ""))
        return found if isinstance(found, ServedModel) else None


@pytest.fixture
def source(make_model: Any, make_classifier: Any):
    marks = {str(number): make_model(make_classifier(number / 10), version=str(number)) for number in range(1, 6)}
    return FakeSource({"champion": version(1)}, marks | {"9": ModelRefused("bad")})


@pytest.fixture
def shelf(source: FakeSource):
    return Shelf(source)


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


async def test_a_champion_serves_on_when_its_alias_is_taken_away(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    source.aliases.clear()
    await shelf.refresh()
    assert shelf.champion.model.version == "1"


async def test_another_alias_is_loaded_when_asked_for_and_followed_from_then_on(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(2)
    await shelf.refresh()
    assert source.loads == ["1"]
    assert (await shelf.find("challenger")).model.version == "2"
    source.aliases["challenger"] = version(3)
    await shelf.refresh()
    assert (await shelf.find("challenger")).model.version == "3"
    del source.aliases["challenger"]
    await shelf.refresh()
    with pytest.raises(UnknownModel):
        await shelf.find("challenger")


async def test_an_unknown_alias_is_asked_for_once_until_the_next_refresh(shelf: Shelf, source: FakeSource):
    await shelf.refresh()
    for _ in range(3):
        with pytest.raises(UnknownModel):
            await shelf.find("nobody")
    assert source.asked.count("nobody") == 1
    source.aliases["nobody"] = version(5)
    await shelf.refresh()
    assert (await shelf.find("nobody")).model.version == "5"


async def test_a_refused_alias_says_so(shelf: Shelf, source: FakeSource):
    source.aliases["challenger"] = version(9)
    for _ in range(2):
        with pytest.raises(ModelRefused):
            await shelf.find("challenger")
    assert source.loads == ["9"]


async def test_the_loop_refreshes_when_woken(shelf: Shelf, source: FakeSource):
    wake = asyncio.Event()
    loop = asyncio.create_task(keep_fresh(shelf, wake, poll_s=60))
    await until(lambda: shelf.champion is not None)
    source.aliases["champion"] = version(2)
    wake.set()
    await until(lambda: shelf.champion.model.version == "2")
    await ended(loop)


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


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(promotions=st.lists(st.integers(1, 5), min_size=1, max_size=8), batch=st.sampled_from([1, 3, 20]))
async def test_requests_during_reloads_never_fail_and_never_mix_versions(
    source: FakeSource, reader: Any, log: Any, promotions: list[int], batch: int
):
    """Promise: each answer's probabilities are those of the version that it names, and a batch has one version."""
    shelf = Shelf(source)
    source.aliases["champion"] = version(1)
    await shelf.refresh()
    parts = Parts(reader, shelf, log, clock=_Clock())
    going = True

    async def ask() -> None:
        while going:
            answers = await predict([PredictionRequest(person_id="p1")] * batch, parts)
            versions = {each.serving.model.version for each in answers}
            marks = {each.probabilities[LEVELS[0]] for each in answers}
            assert len(versions) == 1
            assert marks == {int(next(iter(versions))) / 10}
            await asyncio.sleep(0)

    askers = [asyncio.create_task(ask()) for _ in range(3)]
    for number in promotions:
        source.aliases["champion"] = version(number)
        await shelf.refresh()
        assert shelf.champion.model.version == str(number)
    going = False
    await asyncio.gather(*askers)


class _Clock:
    def now(self) -> datetime:
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


async def until(condition: Any, timeout_s: float = 5):
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.005)


async def ended(task: Any):
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
