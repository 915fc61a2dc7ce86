"""The predictor over a real Redis, MLflow and Kafka."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import mlflow
import numpy as np
import pandas as pd
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc_health.v1 import health_pb2, health_pb2_grpc
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder

from feature_repo.features import BY_NAME, FEATURE_NAMES
from feature_repo.labels import LEVELS
from feature_repo.materialise import Located, inline_row, materialise
from feature_repo.model_input import as_model_input
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.person import parse_record, resolve_time
from feature_repo.predictions import PredictionLogEntry, parse_prediction
from feature_repo.wire import decode_value
from predictor.bootstrap import PredictorProcess
from predictor.evaluate import evaluate
from predictor.settings import PredictorSettings
from protos.habitus.v1 import person_pb2, predictor_pb2_grpc
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.events import ModelEvent, encode
from runtime.kafka import consumer, ensure_topics, producer
from runtime.registry import MODEL_NAME
from runtime.topics import Topics

SettingsFor = Callable[..., Any]
Register = Callable[[int], str]
ROWS = 140
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def person(number: int) -> dict[str, object]:
    """A made-up record; weight decides its level."""
    generator = np.random.default_rng(number)
    return {
        "person_id": f"p{number}",
        "gender": ("Female", "Male")[number % 2],
        "age_years": float(generator.uniform(18, 60)),
        "height_m": float(generator.uniform(1.5, 1.95)),
        "weight_kg": 45.0 + 15.0 * (number % 7) + float(generator.uniform(0, 5)),
        "smokes": bool(number % 3),
        "transport": ("Walking", "Bike", "Automobile")[number % 3],
    }


def located(count: int) -> list[Located]:
    """Records of `count` persons, as a partition of the log holds them."""
    times = [FIRST + timedelta(minutes=number) for number in range(count)]
    records = [resolve_time(parse_record(person(number)).record, at) for number, at in enumerate(times)]
    return [Located(record, "person.records", 1, 100 + n, at) for n, (record, at) in enumerate(zip(records, times, strict=True))]


def trained(seed: int) -> tuple[Pipeline, Any]:
    """A small pipeline over all features, and the rows that it was fitted on."""
    table, _ = materialise(located(ROWS), {})
    frame = as_model_input(table.to_pydict(), FEATURE_NAMES)
    categories = [name for name in FEATURE_NAMES if BY_NAME[name].dtype == "category"]
    filled = SimpleImputer(strategy="constant", fill_value=-1.0, keep_empty_features=True)
    encode_text = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories), remainder=filled
    )
    pipeline = make_pipeline(encode_text, HistGradientBoostingClassifier(max_iter=2 + seed, max_leaf_nodes=4))
    return pipeline.fit(frame, [LEVELS[number % 7] for number in range(ROWS)]), frame


@pytest.fixture
def register(mlflow_uri: str) -> Iterator[Register]:
    """Registers a new champion and returns its version; takes it away again in the end."""
    mlflow.set_tracking_uri(mlflow_uri)
    mlflow.set_registry_uri(mlflow_uri)
    client, versions = MlflowClient(), []

    def make(seed: int) -> str:
        pipeline, frame = trained(seed)
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(
                pipeline,
                name="model",
                signature=infer_signature(frame, pipeline.predict(frame)),
                pip_requirements=["scikit-learn"],
                serialization_format="cloudpickle",
                registered_model_name=MODEL_NAME,
            )
        versions.append(str(logged.registered_model_version))
        client.set_registered_model_alias(MODEL_NAME, "champion", versions[-1])
        return versions[-1]

    yield make
    if versions:
        client.delete_registered_model_alias(MODEL_NAME, "champion")
    for version in versions:
        client.delete_model_version(MODEL_NAME, version)


@pytest.fixture
def settings(settings_for: SettingsFor) -> PredictorSettings:
    made: PredictorSettings = settings_for(PredictorSettings, predictor_address="127.0.0.1:0", predictor_poll_s=60)
    return made


@pytest.fixture
def people(settings: PredictorSettings, redis_url: str) -> None:
    """The rows of all persons, online."""
    table, states = materialise(located(ROWS), {})
    with connect(settings) as client:
        OnlineWriter(client, settings.project).apply(table, states)


@asynccontextmanager
async def running(settings: PredictorSettings, *, ready: bool = True) -> AsyncIterator[Any]:
    """A predictor and stubs of it; `ready`: once it serves."""
    async with PredictorProcess(settings) as process, grpc.aio.insecure_channel(process.address) as channel:
        client: Any = predictor_pb2_grpc.PredictorStub(channel)
        client.health = health_pb2_grpc.HealthStub(channel)
        if ready:
            await becomes(client, serving=True)
        yield client


async def is_serving(client: Any) -> bool:
    answer = await client.health.Check(health_pb2.HealthCheckRequest(service="habitus.v1.Predictor"))
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


async def becomes(client: Any, *, serving: bool, timeout_s: float = 60) -> None:
    async with asyncio.timeout(timeout_s):
        while await is_serving(client) is not serving:  # noqa: ASYNC110  the server tells when asked
            await asyncio.sleep(0.05)


def probabilities(response: pb.PredictResponse) -> list[float]:
    return [response.probabilities[level] for level in LEVELS]


@pytest.mark.usefixtures("people")
async def test_answers_are_those_of_the_registered_model(settings: PredictorSettings, register: Register) -> None:
    """Promise: by id, in a batch and by inline record, the numbers are those of the model loaded from MLflow, to 1e-12."""
    version = register(1)
    model = mlflow.sklearn.load_model(f"models:/{MODEL_NAME}/{version}")
    frame = as_model_input(materialise(located(ROWS), {})[0].to_pydict(), FEATURE_NAMES)
    expected = model.predict_proba(frame)[:, [list(model.classes_).index(level) for level in LEVELS]]
    async with running(settings) as client:
        one = await client.Predict(pb.PredictRequest(person_id="p5"))
        batch = await client.PredictBatch(
            pb.PredictBatchRequest(requests=[pb.PredictRequest(person_id=f"p{number}") for number in range(ROWS)])
        )
        at = Timestamp()
        at.FromDatetime(FIRST + timedelta(minutes=5))
        fields = {name: value for name, value in person(5).items() if name != "person_id"}
        inline = await client.Predict(pb.PredictRequest(record=person_pb2.PersonRecord(event_timestamp=at, **fields)))
        told = await client.GetVersion(pb.GetVersionRequest())
    assert np.abs(np.array([probabilities(each.response) for each in batch.results]) - expected).max() <= 1e-12
    for answer in (one, inline):
        assert np.abs(np.array(probabilities(answer)) - expected[5]).max() <= 1e-12
        assert answer.model.version == version
    assert (one.features.source_topic, one.features.source_partition, one.features.source_offset) == ("person.records", 1, 105)
    assert (told.model.version, tuple(told.inputs)) == (version, FEATURE_NAMES)


@pytest.mark.usefixtures("people")
async def test_a_record_over_a_person_is_folded_on_the_stored_state(settings: PredictorSettings, register: Register) -> None:
    register(1)
    model = mlflow.sklearn.load_model(f"models:/{MODEL_NAME}@champion")
    _, states = materialise(located(ROWS), {})
    at = FIRST + timedelta(days=30)
    merged = resolve_time(parse_record(person(7) | {"weight_kg": 99.0}).record, at)
    row = inline_row(merged, states["p7"])
    expected = model.predict_proba(as_model_input({name: [row[name]] for name in FEATURE_NAMES}, FEATURE_NAMES))[0]
    stamp = Timestamp()
    stamp.FromDatetime(at)
    record = person_pb2.PersonRecord(weight_kg=99.0, event_timestamp=stamp)
    async with running(settings) as client:
        answer = await client.Predict(pb.PredictRequest(person_id="p7", record=record))
    assert row["records_seen"] == 2
    got = [answer.probabilities[level] for level in model.classes_]
    assert np.abs(np.array(got) - expected).max() <= 1e-12


class Proxy:
    """A port before a server, which can be closed and opened as if the server had gone and come back."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, far_writer}
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._open -= {writer, far_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # cut, as the test wants
    finally:
        writer.close()


@pytest.mark.usefixtures("people")
async def test_health_follows_redis_and_the_model(
    settings: PredictorSettings, settings_for: SettingsFor, redis_url: str, register: Register
) -> None:
    """Promise: without Redis or a model it says so and answers UNAVAILABLE; it recovers by itself when they come back."""
    host, _, port = redis_url.removeprefix("redis://").partition("/")[0].partition(":")
    proxy = Proxy(host, int(port))
    await proxy.open()
    through = settings.model_copy(
        update={"redis_url": type(settings.redis_url)(f"redis://127.0.0.1:{proxy.port}/0"), "predictor_poll_s": 0.2}
    )
    async with running(through, ready=False) as client:
        assert not await is_serving(client)
        assert (await failure(client)).code() is grpc.StatusCode.UNAVAILABLE
        register(1)
        await becomes(client, serving=True)
        await client.Predict(pb.PredictRequest(person_id="p1"))
        await proxy.close()
        assert (await failure(client)).code() is grpc.StatusCode.UNAVAILABLE
        await becomes(client, serving=False)
        await proxy.open()
        await becomes(client, serving=True)
        await client.Predict(pb.PredictRequest(person_id="p1"))
    await proxy.close()


async def failure(client: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.Predict(pb.PredictRequest(person_id="p1"), timeout=10)
    return caught.value


@pytest.mark.usefixtures("people", "kafka_bootstrap")
async def test_a_promotion_reloads_under_requests_and_none_fails(settings: PredictorSettings, register: Register) -> None:
    """Promise: `model.events` wakes the reload (the poll is a minute away), and each answer is one version's."""
    first = register(1)
    ensure_topics(settings, Topics(settings).all())
    answers: list[pb.PredictResponse] = []

    async def ask(client: Any) -> None:
        while not answers or answers[-1].model.version == first:
            answers.append(await client.Predict(pb.PredictRequest(person_id="p3")))

    async with running(settings) as client, asyncio.timeout(60):
        askers = [asyncio.create_task(ask(client)) for _ in range(4)]
        second = await asyncio.to_thread(register, 2)
        # Told again only if it went unheard: the predictor may have subscribed after the first time.
        unheard = set(askers)
        while unheard:
            await asyncio.to_thread(announce, settings, second)
            _, unheard = await asyncio.wait(unheard, timeout=2)
        await asyncio.gather(*askers)
    by_version = {
        version: {tuple(probabilities(a)) for a in answers if a.model.version == version} for version in (first, second)
    }
    assert {a.model.version for a in answers} == {first, second}
    assert [len(found) for found in by_version.values()] == [1, 1]
    assert by_version[first] != by_version[second]


def announce(settings: PredictorSettings, version: str) -> None:
    event = ModelEvent(type="ModelPromoted", model_name=MODEL_NAME, model_version=version, time=datetime.now(UTC))
    key, value, headers = encode(event, "test")
    sender = producer(settings)
    sender.send(Topics(settings).model_events.name, key=key, value=value, headers=headers).get(timeout=15)
    sender.close()


@pytest.mark.usefixtures("people", "kafka_bootstrap")
async def test_predictions_are_logged_to_kafka(settings: PredictorSettings, register: Register) -> None:
    version = register(1)
    names = ["p1", "p2", "p1"]
    async with running(settings) as client:
        for number, name in enumerate(names):
            await client.Predict(pb.PredictRequest(person_id=name, request_id=str(number)))
        await client.Predict(
            pb.PredictRequest(record=person_pb2.PersonRecord(gender="Male", age_years=30, height_m=1.8, weight_kg=80))
        )
        messages = await asyncio.to_thread(logged, settings, 4)
    entries = {entry.request_id: (key, entry) for key, entry in messages}
    assert [entries[str(number)][0] for number in range(3)] == [b"p1", b"p2", b"p1"]
    entry = entries["1"][1]
    assert (entry.model_version, entry.model_alias, entry.feature_offset) == (version, "champion", 102)
    assert set(entry.features) == set(FEATURE_NAMES)
    assert [key for key, entry in messages if entry.person_id == ""] == [None]


def logged(settings: PredictorSettings, count: int) -> list[tuple[bytes | None, PredictionLogEntry]]:
    """The first `count` entries of the prediction log."""
    topic = Topics(settings).predictions
    ensure_topics(settings, [topic])
    reader, found, deadline = consumer(settings, topic.name), [], time.monotonic() + 30
    while len(found) < count and time.monotonic() < deadline:
        for messages in reader.poll(timeout_ms=200).values():
            found += [(message.key, parse_prediction(decode_value(message.value))) for message in messages]
    reader.close()
    return found


@pytest.mark.usefixtures("people")
async def test_without_kafka_it_serves_and_stops_in_time(settings: PredictorSettings, register: Register) -> None:
    register(1)
    async with running(settings) as client:
        for _ in range(20):
            await client.Predict(pb.PredictRequest(person_id="p1"))
        before = time.monotonic()
    assert time.monotonic() - before < 5


@pytest.mark.usefixtures("people")
async def test_a_restart_without_mlflow_serves_from_the_local_copy(
    settings: PredictorSettings, register: Register, tmp_path: Path
) -> None:
    version = register(1)
    async with running(settings) as client:
        before = await client.Predict(pb.PredictRequest(person_id="p1"))
    alone = settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:1"})
    async with running(alone) as client:
        after = await client.Predict(pb.PredictRequest(person_id="p1"))
    assert (before.model.version, after.model.version) == (version, version)
    assert probabilities(before) == probabilities(after)


def test_evaluation_scores_any_version(settings: PredictorSettings, register: Register) -> None:

    rows = pd.DataFrame([person(number) for number in range(ROWS)]).assign(obesity_level=[LEVELS[n % 7] for n in range(ROWS)])
    first, second = register(1), register(2)
    by_number = evaluate(settings, rows, first)
    assert by_number.model_version == first
    assert evaluate(settings, rows).model_version == second
    by_uri = evaluate(settings, rows, f"models:/{MODEL_NAME}/{first}")
    assert by_uri.summary() == by_number.summary()
    assert by_number.scores["accuracy"] > 0.9
