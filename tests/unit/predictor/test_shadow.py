"""Models that score in shadow: everything they make goes to the log, nothing of it to a request."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from predictor.handlers import Parts, predict
from predictor.messages import Answer, PredictionRequest, Serving
from predictor.shadow import CALL_ROWS, Shadow
from tests.fake_registry import HandClock, ended, until


@dataclass
class Given:
    """A shelf with one champion."""

    serving: Serving

    async def find(self, _: str) -> Serving:
        return self.serving


@dataclass
class Scene:
    """A champion that was asked, its shadows, and where they score."""

    parts: Parts
    make_serving: Callable[..., Serving]
    metrics: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        self.challenger = self.make_serving(0.9, "challenger", "2")
        self.previous = self.make_serving(0.1, "previous", "0")
        self.logged: list[Any] = self.parts.log.entries
        self.room = self.open()

    def open(self, capacity: int = 1_000) -> Shadow:
        """A room of shadows."""
        self.metrics = CollectorRegistry()
        self.room = Shadow(self.parts.log, HandClock(), self.metrics, capacity)
        return self.room

    async def ask(self, *shadows: Serving, count: int = 1, inputs: Sequence[str] = ("weight_kg", "bmi")) -> list[Answer]:
        """What a champion with these shadows answered `count` times; of its log nothing is left."""
        champion = self.make_serving(0.1, "champion", "1", inputs=inputs, shadows=shadows)
        requests = [PredictionRequest(person_id="p1", request_id=f"r{number}") for number in range(count)]
        answers = await predict(requests, replace(self.parts, models=Given(champion)))
        self.logged.clear()
        for each in shadows:
            each.model.classifier.calls.clear()
        return answers

    def counted(self, outcome: str, alias: str = "challenger") -> float:
        labels = {"alias": alias, "outcome": outcome}
        return self.metrics.get_sample_value("habitus_predictor_shadow_rows_total", labels) or 0


@pytest.fixture
def scene(parts: Parts, make_model: Any, make_classifier: Any) -> Scene:
    def make_serving(mark: float, alias: str, number: str, *, inputs: Any = None, shadows: Any = ()) -> Serving:
        chosen = {} if inputs is None else {"inputs": inputs}
        return Serving(make_model(make_classifier(mark), version=number, **chosen), alias, shadows=tuple(shadows))

    return Scene(parts, make_serving)


async def test_a_shadow_is_logged_with_its_own_version_and_alias_beside_the_answer(scene: Scene):
    [answer] = await scene.ask(scene.challenger)
    scene.room.offer([answer])
    await scene.room.score_waiting()
    [entry] = scene.logged
    mine = answer.log_entry(HandClock().now())
    assert (entry["shadow"], entry["model_version"], entry["model_alias"]) == (True, "2", "challenger")
    same = ("request_id", "person_id", "event_timestamp", "feature_topic", "feature_partition", "feature_offset", "served_at")
    assert all(entry[name] == mine[name] for name in same)
    assert not mine["shadow"]


async def test_a_shadow_scores_what_its_model_reads_though_the_champion_does_not(scene: Scene):
    """Promise: what only a shadow reads is read with the champion's, in one round trip, and is no input of the answer."""
    [answer] = await scene.ask(scene.challenger, inputs=("weight_kg",))
    scene.room.offer([answer])
    await scene.room.score_waiting()
    stored = scene.parts.reader.rows["p1"].values
    assert scene.logged[0]["features"] == {name: stored[name] for name in scene.challenger.model.inputs}
    assert (set(answer.inputs), set(answer.log_entry(HandClock().now())["features"])) == ({"weight_kg"}, {"weight_kg"})
    assert len(scene.parts.reader.reads) == 1
    expected = scene.challenger.model.score([stored])[0]
    assert np.array_equal(list(scene.logged[0]["probabilities"].values()), expected)


async def test_agreement_on_the_level_is_counted(scene: Scene):
    scene.room.offer(await scene.ask(scene.challenger, scene.previous, count=3))
    await scene.room.score_waiting()
    assert (scene.counted("disagreed"), scene.counted("agreed")) == (3, 0)
    assert (scene.counted("disagreed", "previous"), scene.counted("agreed", "previous")) == (0, 3)


async def test_rows_that_wait_share_a_call_of_each_model(scene: Scene):
    for each in await scene.ask(scene.challenger, scene.previous, count=10):
        scene.room.offer([each])
    await scene.room.score_waiting()
    assert [each.model.classifier.calls for each in (scene.challenger, scene.previous)] == [[10], [10]]
    assert len(scene.logged) == 20


async def test_a_call_has_a_greatest_size_and_the_rest_comes_next(scene: Scene):
    scene.room.offer(await scene.ask(scene.challenger, count=CALL_ROWS + 10))
    worker = asyncio.create_task(scene.room.run())
    await until(lambda: len(scene.logged) == CALL_ROWS + 10)
    await ended(worker)
    assert scene.challenger.model.classifier.calls == [CALL_ROWS, 10]


async def test_what_does_not_fit_is_dropped_and_counted(scene: Scene):
    room = scene.open(capacity=4)
    room.offer(await scene.ask(scene.challenger, count=10))
    await room.score_waiting()
    assert (len(scene.logged), scene.counted("dropped")) == (4, 6)
    room.offer(await scene.ask(scene.challenger, count=3))
    await room.score_waiting()
    assert scene.counted("dropped") == 6


async def test_answers_go_on_while_a_shadow_hangs(scene: Scene):
    """Promise: a shadow model that does not come back costs its own rows, and no answer."""
    going, scored = threading.Event(), scene.challenger.model.classifier.predict_proba

    def stuck(frame: Any) -> Any:
        going.wait(30)
        return scored(frame)

    scene.challenger.model.classifier.predict_proba = stuck
    room = scene.open(capacity=2)
    worker = asyncio.create_task(room.run())
    async with asyncio.timeout(20):
        while scene.counted("dropped") < 20:
            room.offer(await scene.ask(scene.challenger))
            await asyncio.sleep(0)
    assert scene.counted("disagreed") == 0
    going.set()
    await until(lambda: scene.counted("disagreed") > 0)
    await ended(worker)


@pytest.mark.parametrize("answer", [ValueError("no such column"), np.full(7, np.nan), np.full(7, 1.5), np.zeros(3)])
async def test_a_shadow_that_fails_is_counted_and_the_next_one_scored(scene: Scene, answer: Any):
    def broken(frame: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return np.tile(answer, (len(frame), 1))

    scene.challenger.model.classifier.predict_proba = broken
    scene.room.offer(await scene.ask(scene.challenger, scene.previous, count=5))
    await scene.room.score_waiting()
    assert (scene.counted("failed"), scene.counted("failed", "previous")) == (5, 0)
    assert {each["model_alias"] for each in scene.logged} == {"previous"}


async def test_answers_without_shadows_leave_nothing_to_do(scene: Scene):
    scene.room.offer(await scene.ask(count=3))
    await scene.room.score_waiting()
    assert scene.logged == []
