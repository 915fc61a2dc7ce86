"""A swap of models is never seen by a request."""

import asyncio
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feature_repo.labels import LEVELS
from predictor.canary import is_chosen
from predictor.handlers import Parts, predict
from predictor.messages import PredictionRequest
from predictor.shelf import Shelf
from tests.fake_registry import FakeSource, HandClock, version

MIX = settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@MIX
@given(
    promotions=st.lists(st.tuples(st.integers(1, 5), st.sampled_from([0, 30])), min_size=1, max_size=8),
    batch=st.sampled_from([1, 3, 20]),
)
async def test_requests_during_reloads_never_fail_and_never_mix_versions(
    source: FakeSource, parts: Parts, stored: Any, promotions: list[tuple[int, int]], batch: int
):
    """Promise: each answer's probabilities are those of the version that it names; a batch has one version of each alias.

    Only the canary's persons are answered by the challenger, and only if they asked for the champion.
    """
    shelf = Shelf(source, HandClock())
    source.aliases = {"champion": version(1)}
    await shelf.refresh()
    asked = replace(parts, models=shelf)
    persons = [f"p{number}" for number in range(batch)]
    parts.reader.rows |= {person: stored({}, person_id=person) for person in persons}
    going = True

    async def ask() -> None:
        while going:
            answers = await predict([PredictionRequest(person_id=person) for person in persons], asked)
            assert len({(each.serving.alias, each.serving.model.version) for each in answers}) <= 2
            assert len({each.serving.alias for each in answers}) == len({each.serving.model.version for each in answers})
            for person, answer in zip(persons, answers, strict=True):
                assert answer.probabilities[LEVELS[0]] == int(answer.serving.model.version) / 10
                assert answer.serving.alias == "champion" or is_chosen(person, 30)
            await asyncio.sleep(0)

    askers = [asyncio.create_task(ask()) for _ in range(3)]
    for number, percent in promotions:
        source.promote(number)
        source.aliases["challenger"] = version(number + 1, tags={"canary_percent": str(percent)})
        await shelf.refresh()
        assert shelf.champion.model.version == str(number)
    going = False
    await asyncio.gather(*askers)
