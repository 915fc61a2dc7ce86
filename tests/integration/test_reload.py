"""Models change under a predictor over a real Redis, MLflow and Kafka: reload, refusal, shadow, canary, rollback, no registry."""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import mlflow
import numpy as np
import numpy.typing as npt
import pytest
from mlflow import MlflowClient
from mlflow.models import infer_signature

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from feature_repo.materialise import materialise
from feature_repo.model_input import as_model_input
from feature_repo.online.rows import OnlineWriter, connect
from predictor.adapters.model_events import ModelEventListener
from predictor.canary import TAG, is_chosen
from predictor.settings import PredictorSettings
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.announcer import KafkaAnnouncer
from runtime.clock import SystemClock
from runtime.events import ModelEvent, decode
from runtime.kafka import consumer, ensure_topics
from runtime.registry import MODEL_NAME, Registry
from runtime.topics import Topics
from tests.integration.test_predictor import ROWS, Proxy, located, logged, probabilities, running, trained
from trainer.promote import Promotion

pytestmark = pytest.mark.timeout(300)

SettingsFor = Callable[..., Any]
Floats = npt.NDArray[np.float64]
RELOADS = 20
HEARD_WITHIN_S = 2.0  # told again only if it went unheard: the predictor may have begun to listen after the first time


class Models:
    """Versions registered by a test, and what each answers for every person, in the order of `LEVELS`."""

    def __init__(self) -> None:
        self.client = MlflowClient()
        self.expected: dict[str, Floats] = {}
        self._aliases: set[str] = set()

    def register(self, seed: int, levels: int = len(LEVELS)) -> str:
        """A new version, without an alias; one with fewer `levels` fails its load check."""
        pipeline, frame = trained(seed)
        if levels < len(LEVELS):
            pipeline.fit(frame, [LEVELS[number % levels] for number in range(ROWS)])
        with mlflow.start_run():
            logged_model = mlflow.sklearn.log_model(
                pipeline,
                name="model",
                signature=infer_signature(frame, pipeline.predict(frame)),
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
                registered_model_name=MODEL_NAME,
            )
        version = str(logged_model.registered_model_version)
        self.expected[version] = _answers(pipeline) if levels == len(LEVELS) else np.empty(0)
        return version

    def alias(self, name: str, version: str) -> None:
        self._aliases.add(name)
        self.client.set_registered_model_alias(MODEL_NAME, name, version)

    def is_right(self, answer: pb.PredictResponse, number: int) -> bool:
        """Whether person `number` got what the version that the answer names gives, to 1e-12."""
        return bool(np.abs(np.array(probabilities(answer)) - self.expected[answer.model.version][number]).max() <= 1e-12)

    def clear(self) -> None:
        for alias in self._aliases | {"champion", "challenger", "previous"}:
            self.client.delete_registered_model_alias(MODEL_NAME, alias)
        for version in self.expected:
            self.client.delete_model_version(MODEL_NAME, version)


def _answers(pipeline: Any) -> Floats:
    frame = as_model_input(materialise(located(ROWS), {})[0].to_pydict(), FEATURE_NAMES)
    found: Floats = pipeline.predict_proba(frame)[:, [list(pipeline.classes_).index(level) for level in LEVELS]]
    return found


@pytest.fixture
def models(mlflow_uri: str) -> Iterator[Models]:
    mlflow.set_tracking_uri(mlflow_uri)
    mlflow.set_registry_uri(mlflow_uri)
    made = Models()
    yield made
    made.clear()


@pytest.fixture
def settings(settings_for: SettingsFor, kafka_bootstrap: str, redis_url: str, mlflow_uri: str) -> PredictorSettings:
    """Settings of a predictor that polls once in an hour: what it learns in time, it was woken for. Its persons are online."""
    made: PredictorSettings = settings_for(PredictorSettings, predictor_address="127.0.0.1:0", predictor_poll_s=3600)
    table, states = materialise(located(ROWS), {})
    with connect(made) as client:
        OnlineWriter(client, made.project).apply(table, states)
    ensure_topics(made, Topics(made).all())
    return made


def promotion(settings: PredictorSettings) -> Promotion:
    """The trainer's own hand on the aliases, which announces what it does."""
    return Promotion(Registry(settings), KafkaAnnouncer(settings, "trainer"), SystemClock())


def told(settings: PredictorSettings, version: str) -> None:
    event = ModelEvent(type="ModelPromoted", model_name=MODEL_NAME, model_version=version, time=datetime.now(UTC))
    assert KafkaAnnouncer(settings, "test").announce(event)


async def serves(client: Any, version: str) -> bool:
    answer = await client.GetVersion(pb.GetVersionRequest())
    return bool(answer.model.version == version)


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float = 30) -> None:
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110  the server tells when asked
            await asyncio.sleep(0.02)


async def reloads(client: Any, settings: PredictorSettings, version: str) -> None:
    """Announce until the predictor serves `version`."""
    async with asyncio.timeout(60):
        while True:
            await asyncio.to_thread(told, settings, version)
            try:
                return await until(lambda: serves(client, version), HEARD_WITHIN_S)
            except TimeoutError:
                continue


class Load:
    """Clients that ask without a pause, by one and in batches, and keep every answer."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.singles: list[tuple[int, pb.PredictResponse]] = []
        self.batches: list[list[pb.PredictResult]] = []

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Within the block requests go on; one that failed fails the block."""
        going = asyncio.Event()
        askers = [asyncio.create_task(self._ask(each, going)) for each in range(4)] + [asyncio.create_task(self._batch(going))]
        try:
            yield
        finally:
            going.set()
            await asyncio.gather(*askers)

    async def _ask(self, number: int, ending: asyncio.Event) -> None:
        while not ending.is_set():
            number = (number + 4) % ROWS
            self.singles.append((number, await self.client.Predict(pb.PredictRequest(person_id=f"p{number}"))))

    async def _batch(self, ending: asyncio.Event) -> None:
        requests = [pb.PredictRequest(person_id=f"p{number}") for number in range(ROWS)]
        while not ending.is_set():
            self.batches.append(list((await self.client.PredictBatch(pb.PredictBatchRequest(requests=requests))).results))


async def test_twenty_reloads_under_load_fail_and_mix_no_request(settings: PredictorSettings, models: Models) -> None:
    """Promise: each answer is what the version that it names gives; a batch has one version; nothing fails.

    No time is given to a previous model, so each of the reloads loads its model anew.
    """
    versions = [models.register(seed) for seed in (1, 2, 3)]
    models.alias("champion", versions[0])
    forgetful = settings.model_copy(update={"predictor_previous_s": 0.0})
    async with running(forgetful) as client:
        load = Load(client)
        async with load.on():
            for number in range(1, RELOADS + 1):
                version = versions[number % len(versions)]
                models.alias("champion", version)
                await reloads(client, settings, version)
    assert {answer.model.version for _, answer in load.singles} == set(versions)
    assert all(models.is_right(answer, number) for number, answer in load.singles)
    for batch in load.batches:
        assert len({each.response.model.version for each in batch}) == 1
        assert all(models.is_right(each.response, number) for number, each in enumerate(batch))


async def test_a_refused_model_leaves_the_old_one_and_is_an_event(settings: PredictorSettings, models: Models) -> None:
    """Promise: `model.events` tells the refusal once, in the predictor's name and with its reason; a restart is no outage."""
    good, bad, better = models.register(1), models.register(2, levels=6), models.register(3)
    models.alias("champion", good)
    async with running(settings) as client:
        models.alias("champion", bad)
        [refusal] = await refusals(settings, bad)
        assert await serves(client, good)
        for _ in range(3):
            await asyncio.to_thread(told, settings, bad)
        models.alias("champion", better)
        await reloads(client, settings, better)
    assert refusal["source"] == "/habitus/predictor"
    assert "not the seven levels" in refusal["event"].decision["reason"]
    assert len(await refusals(settings, bad)) == 1
    models.alias("champion", bad)
    async with running(settings) as client:
        assert await serves(client, better)


async def refusals(settings: PredictorSettings, version: str) -> list[dict[str, Any]]:
    """The refusals of `version` on the real topic, as soon as there is one; the predictor is told of the version until then."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while not found:
            await asyncio.to_thread(told, settings, version)
            messages = await asyncio.to_thread(_model_events, settings, HEARD_WITHIN_S)
            events = [_refusal(each) for each in messages]
            found = [each for each in events if each["event"].type == "ModelRefused" and each["event"].model_version == version]
    return found


def _refusal(message: Any) -> dict[str, Any]:
    return {"event": decode(ModelEvent, message.value), "source": dict(message.headers)["ce_source"].decode()}


def _model_events(settings: PredictorSettings, for_s: float) -> list[Any]:
    reader, found, end = consumer(settings, Topics(settings).model_events.name), [], time.monotonic() + for_s
    while time.monotonic() < end:
        found += [message for messages in reader.poll(timeout_ms=200).values() for message in messages]
    reader.close()
    return found


async def test_a_challenger_scores_in_shadow_and_is_logged_as_such(settings: PredictorSettings, models: Models) -> None:
    """Promise: for every answer of the champion the log has what the challenger made of the same features."""
    champion, challenger = models.register(1), models.register(2)
    models.alias("champion", champion)
    models.alias("challenger", challenger)
    async with running(settings) as client:
        await until(lambda: _is_asked(client, "challenger"))
        for number in range(30):
            await client.Predict(pb.PredictRequest(person_id=f"p{number}", request_id=str(number)))
        entries = [entry for _, entry in await asyncio.to_thread(logged, settings, 61)]
    shadows = {entry.request_id: entry for entry in entries if entry.shadow}
    answers = {entry.request_id: entry for entry in entries if not entry.shadow and entry.model_alias == "champion"}
    assert shadows.keys() == answers.keys() == {str(number) for number in range(30)}
    for number in range(30):
        shadow, answer = shadows[str(number)], answers[str(number)]
        assert (shadow.model_version, shadow.model_alias, answer.model_version) == (challenger, "challenger", champion)
        assert shadow.features == answer.features
        got = [shadow.probabilities[level] for level in LEVELS]
        assert np.abs(np.array(got) - models.expected[challenger][number]).max() <= 1e-12


async def _is_asked(client: Any, alias: str) -> bool:
    """Whether `alias` serves; asks it for one person."""
    answer = await client.Predict(pb.PredictRequest(person_id="p0", model_alias=alias, request_id="asked"))
    return bool(answer.model.alias == alias)


async def test_a_canary_answers_its_share_of_persons(settings: PredictorSettings, models: Models) -> None:
    """Promise: the same persons in every call; each answer is what the version that it names gives."""
    champion, challenger = models.register(1), models.register(2)
    models.client.set_model_version_tag(MODEL_NAME, challenger, TAG, "30")
    models.alias("champion", champion)
    models.alias("challenger", challenger)
    requests = [pb.PredictRequest(person_id=f"p{number}") for number in range(ROWS)]
    async with running(settings) as client:
        await until(lambda: _is_asked(client, "challenger"))
        results = (await client.PredictBatch(pb.PredictBatchRequest(requests=requests))).results
        one_by_one = [await client.Predict(each) for each in requests[:20]]
    roles = {True: ("challenger", challenger), False: ("champion", champion)}
    for number, answer in [*enumerate(each.response for each in results), *enumerate(one_by_one)]:
        assert (answer.model.alias, answer.model.version) == roles[is_chosen(f"p{number}", 30)]
        assert models.is_right(answer, number)


async def test_a_rollback_takes_seconds_and_needs_no_files(settings: PredictorSettings, models: Models) -> None:
    """Promise: the previous model is in memory; that its local copy is gone and is not fetched again shows it."""
    first, second = models.register(1), models.register(2)
    models.alias("champion", first)
    async with running(settings) as client:
        await asyncio.to_thread(promotion(settings).promote, second)
        await reloads(client, settings, second)
        copies = settings.home / "models" / MODEL_NAME
        shutil.rmtree(next(copies.glob(f"{first}-*")))
        await asyncio.to_thread(promotion(settings).rollback)
        await until(lambda: serves(client, first), timeout_s=5)
        answer = await client.Predict(pb.PredictRequest(person_id="p3"))
        assert models.is_right(answer, 3)
        assert not list(copies.glob(f"{first}-*"))


async def test_an_mlflow_that_goes_is_not_missed_at_a_restart_either(settings: PredictorSettings, models: Models) -> None:
    version = models.register(1)
    models.alias("champion", version)
    host, _, port = settings.mlflow_uri.removeprefix("http://").partition(":")
    proxy = Proxy(host, int(port))
    await proxy.open()
    through = settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{proxy.port}"})
    async with running(through) as client:
        await proxy.close()
        await asyncio.to_thread(told, settings, version)
        assert models.is_right(await client.Predict(pb.PredictRequest(person_id="p3")), 3)
    async with running(through) as client:
        answer = await client.Predict(pb.PredictRequest(person_id="p3"))
        assert answer.model.version == version
        assert models.is_right(answer, 3)


async def test_the_registry_is_looked_at_once_listening_begins(settings: PredictorSettings) -> None:
    """Promise: what was announced before anybody listened is not first found at the next poll."""
    woken = asyncio.Event()
    listener = ModelEventListener(settings, woken.set, asyncio.get_running_loop())
    listener.start()
    async with asyncio.timeout(30):
        await woken.wait()
        woken.clear()
        await asyncio.to_thread(told, settings, "1")
        await woken.wait()
    await asyncio.to_thread(listener.close)


async def test_a_torn_local_copy_is_fetched_again(settings: PredictorSettings, models: Models) -> None:
    version = models.register(1)
    models.alias("champion", version)
    async with running(settings):
        pass
    [pickled] = (settings.home / "models" / MODEL_NAME).glob(f"{version}-*/model.pkl")
    whole = pickled.read_bytes()
    pickled.write_bytes(whole[: len(whole) // 2])
    async with running(settings) as client:
        assert models.is_right(await client.Predict(pb.PredictRequest(person_id="p3")), 3)
    assert await asyncio.to_thread(pickled.read_bytes) == whole
