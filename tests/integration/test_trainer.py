"""The trainer on a real MLflow and Kafka: from history to champion, its reference, its events, and back."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.gate import is_gate
from feature_repo.materialise import Located, materialise
from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History, OffsetRange, open_history
from feature_repo.person import parse_record
from feature_repo.reference import OUT_OF_FOLD, ROWS, Reference
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from habitus.data.columns import LEVEL, TIME
from habitus.data.identity import Stretch
from habitus.data.shift import Shift
from habitus.data.simulator import simulate
from runtime.errors import NotEnoughData, Unavailable
from runtime.events import DriftAlert, ModelEvent, decode, encode
from runtime.kafka import consumer, ensure_topics, lag, producer
from runtime.registry import REFERENCE_FOLDER, Registry
from runtime.topics import Topics
from trainer.adapters.history import FeastHistory
from trainer.bootstrap import wire
from trainer.handlers import Trained, TrainModel, Workshop, train
from trainer.pipeline import probabilities
from trainer.settings import TrainerSettings

ANCHOR = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
DELAY = timedelta(minutes=1)
COMMAND = TrainModel(NOW, folds=2, features="raw")
MakeSettings = Callable[..., Any]


def write_history(offline: Path, rows: pd.DataFrame, first: int = 0) -> None:
    """Write what the stream would: `rows` (published columns, person, time) as features and labels, each known after `DELAY`."""
    located = []
    for offset, row in enumerate(rows.drop(columns=LEVEL).to_dict("records"), start=first):
        at = row[TIME].to_pydatetime()
        record = parse_record(row | {TIME: at.isoformat()}).record
        located.append(Located(record, "person.records", 0, offset, at + DELAY))
    features, _ = materialise(located, {})
    origin = ("person_id", "event_timestamp", "ingested_at", "source_topic", "source_partition", "source_offset")
    labels = features.select(origin).append_column("obesity_level", pa.array(rows[LEVEL], pa.string()))
    for dataset, table in ((PERSON_FEATURES, features), (PERSON_LABELS, labels.select(PERSON_LABELS.schema.names))):
        offsets = OffsetRange("person.records", 0, first, first + len(rows) - 1)
        History(LocalFiles(Path(offline)), dataset).append(table, offsets, located[0].ingested_at)


def population(rows: int, *, drifted: bool = False) -> pd.DataFrame:
    if not drifted:
        return simulate(rows, stretch=Stretch.named("history", ANCHOR), persons=rows, source="history")
    later = simulate(rows, stretch=Stretch.named("production", ANCHOR), persons=rows, seed=1, source="drift")
    return Shift(weight_scale=1.1).apply(later)


@pytest.fixture
def settings(settings_for: MakeSettings, mlflow_uri: str, kafka_bootstrap: str) -> TrainerSettings:
    made: TrainerSettings = settings_for(TrainerSettings)
    write_history(made.offline, population(900))
    return made


@pytest.fixture
def shop(settings: TrainerSettings) -> Workshop:
    """A workshop whose model has a name of its own, because tests share one MLflow."""
    workshop = wire(settings)
    own = Registry(settings, f"obesity-level-{settings.project}")
    workshop.models._registry = own  # type: ignore[attr-defined]
    return replace(workshop, registry=own, promotion=replace(workshop.promotion, registry=own))


def events(settings: TrainerSettings, count: int) -> list[ModelEvent]:
    """The first `count` events on model.events."""
    reader = consumer(settings, Topics(settings).model_events.name, consumer_timeout_ms=30_000)
    found: list[ModelEvent] = []
    try:
        for message in reader:
            found.append(decode(ModelEvent, message.value))
            if len(found) == count:
                break
    finally:
        reader.close()
    return found


def test_from_history_to_champion_and_back(shop: Workshop, settings: TrainerSettings, tmp_path: Path) -> None:
    """Promise: a model is registered with its evidence, promoted, announced, beaten only by a better one, and rolled back."""
    first = train(COMMAND, shop)
    second = train(COMMAND, shop)
    assert (first.decision.promote, second.decision.promote) == (True, False)
    _see_reference(shop.registry, first, tmp_path)
    _see_that_the_loaded_model_is_the_trained_one(shop, first)
    shop.promotion.promote("2")
    assert shop.promotion.rollback().version == "1"
    aliases = {each.version: set(each.aliases) for each in shop.registry.versions()}
    assert aliases == {"1": {"champion"}, "2": {"previous"}}
    types = [event.type for event in events(settings, 6)]
    registered_and_settled = ["ModelRegistered", "ModelPromoted", "ModelRegistered", "ModelRejected"]
    assert types == [*registered_and_settled, "ModelPromoted", "ModelRolledBack"]


def _see_reference(registry: Any, trained: Trained, folder: Path) -> None:
    version = registry.by_version(trained.version.version)
    assert {"accuracy", "macro_f1", "log_loss", "family", "rows", "as_of", "decision"} <= version.tags.keys()
    files = registry.download(version, folder / "model")
    assert (files / "MLmodel").exists()
    reference = Reference.load(files / REFERENCE_FOLDER)
    out_of_fold, rows = (pd.read_parquet(files / REFERENCE_FOLDER / name) for name in (OUT_OF_FOLD, ROWS))
    assert reference.rows == len(out_of_fold) == len(rows)
    assert not is_gate(out_of_fold["person_id"]).any()
    np.testing.assert_array_equal(reference.counts(rows)["weight_kg"], reference.features[3].counts)


def _see_that_the_loaded_model_is_the_trained_one(shop: Workshop, trained: Trained) -> None:
    loaded = shop.models.load(trained.version)
    np.testing.assert_array_equal(probabilities(loaded, trained.candidate.gate_rows), trained.candidate.gate_probabilities)


def test_what_was_not_known_at_the_cut_off_is_not_joined(settings: TrainerSettings) -> None:
    """Promise: labels and features that arrived after `as_of` do not exist for it, whatever their event time."""
    history = FeastHistory(settings)
    everything = history.training_set(NOW)
    assert len(everything.rows) == 900
    middle = everything.rows["event_timestamp"].iloc[449].to_pydatetime() + DELAY
    known = history.training_set(middle)
    pd.testing.assert_frame_equal(known.rows, everything.rows.head(len(known.rows)))
    assert (known.rows["event_timestamp"] + DELAY <= middle).all()
    assert 445 <= len(known.rows) <= 455


def test_a_label_without_its_record_is_counted_and_left_out(settings: TrainerSettings) -> None:
    lonely = open_history(settings, PERSON_LABELS)
    row = {
        "person_id": "nobody",
        "event_timestamp": ANCHOR,
        "obesity_level": "Normal_Weight",
        "ingested_at": ANCHOR,
        "source_topic": "person.labels",
        "source_partition": 1,
        "source_offset": 0,
    }
    table = pa.Table.from_pylist([row], schema=PERSON_LABELS.schema)
    lonely.append(table, OffsetRange("person.labels", 1, 0, 0), ANCHOR)
    data = FeastHistory(settings).training_set(NOW)
    assert (len(data.rows), data.labels_without_features) == (900, 1)


def test_without_history_or_mlflow_the_error_says_what_to_do(settings_for: MakeSettings) -> None:
    nowhere: TrainerSettings = settings_for(TrainerSettings)
    with pytest.raises(NotEnoughData, match="the history holds no labels") as missing:
        FeastHistory(nowhere).training_set(NOW)
    assert "habitus replay" in missing.value.remedy
    with pytest.raises(Unavailable, match="mlflow") as down:
        train(COMMAND, wire(nowhere))
    assert "habitus status" in down.value.remedy


@pytest.fixture
def service(settings: TrainerSettings, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`python -m trainer` with the test's settings, ended whatever happens."""
    fields = ("kafka_bootstrap", "mlflow_uri", "topic_prefix", "project", "home", "offline_uri", "registry_uri")
    own = {f"HABITUS_{name.upper()}": str(getattr(settings, name)) for name in fields}
    own |= {"HABITUS_TRAINER_SETTLE_S": "0", "HABITUS_TRAINER_RECENT_FOLDS": "2"}
    with (tmp_path / "trainer.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "trainer"], env=os.environ | own, stderr=log)
        yield process
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_drift_alert_is_answered_with_a_better_model_and_acknowledged(
    settings: TrainerSettings, service: subprocess.Popen[bytes]
) -> None:
    """Promise: the service retrains on an alert, promotes what is better on gate rows since the drift, and stops when told to."""
    shop = wire(settings)
    if shop.registry.by_alias("champion") is not None:  # another test's: the service knows one name, and MLflow is shared
        shop.registry.remove_alias("champion")
    champion = train(COMMAND, shop).version
    write_history(settings.offline, population(1_500, drifted=True), first=900)
    _send_alert(settings, champion.version)
    promoted = _promotion_of_another(settings, champion.version)
    record = promoted.decision
    assert record["outcome"] == "promoted"
    assert record["p_value"] < 0.05
    assert set(record["recent_weight"]["log_loss"]) >= {"1", "4", "16"}
    _wait_until(lambda: lag(settings, f"{settings.topic_prefix}trainer", Topics(settings).alerts.name) == 0)
    asked = time.monotonic()
    service.send_signal(signal.SIGTERM)
    assert service.wait(timeout=10) == 0
    assert time.monotonic() - asked < 5


def _send_alert(settings: TrainerSettings, version: str) -> None:
    topic = Topics(settings).alerts
    ensure_topics(settings, [topic])
    alert = DriftAlert(
        time=NOW, model_version=version, window_from=ANCHOR, window_to=NOW, events=1_500, features=(), summary="heavier"
    )
    key, value, headers = encode(alert, "monitor")
    with producer(settings) as sender:
        sender.send(topic.name, key=key, value=value, headers=headers).get(timeout=10)


def _promotion_of_another(settings: TrainerSettings, version: str) -> ModelEvent:
    reader = consumer(settings, Topics(settings).model_events.name, consumer_timeout_ms=150_000)
    try:
        found = (decode(ModelEvent, message.value) for message in reader)
        return next(each for each in found if each.model_version != version and each.type != "ModelRegistered")
    finally:
        reader.close()


def _wait_until(holds: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, json.dumps({"waited_s": seconds})
        time.sleep(0.2)
