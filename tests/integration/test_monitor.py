"""The monitor as a process, against a real Kafka and a real MLflow."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient

from feature_repo.person import ALIASES, ATTRIBUTES, FLAGS
from feature_repo.reference import build_reference
from feature_repo.wire import encode_row
from habitus.data.identity import Stretch
from habitus.data.simulator import simulate
from monitor.settings import MonitorSettings
from runtime.events import DriftAlert, ModelEvent, decode, encode
from runtime.kafka import consumer, ensure_topics, producer
from runtime.registry import MODEL_NAME, Alias, Registry
from runtime.topics import Topics

TRAINED = Stretch(datetime(2024, 7, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
LATER = Stretch(datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC))
WINDOW = 500
PATIENCE_S = 90


def people(stretch: Stretch, rows: int, seed: int, weight_scale: float = 1.0) -> pd.DataFrame:
    """Simulated persons with our names, one record each, in time order."""
    frame = simulate(rows, persons=rows, stretch=stretch, seed=seed, source=f"s{seed}").rename(columns=dict(ALIASES))
    for flag in FLAGS:
        frame[flag] = frame[flag].isin(["yes", True])
    frame["weight_kg"] *= weight_scale
    return frame.rename(columns={"NObeyesdad": "obesity_level"})


@dataclass
class Bench:
    """Topics of our own, a registry, and monitors as processes."""

    settings: MonitorSettings
    log: Path

    def champion(self, folder: Path, frame: pd.DataFrame) -> str:
        """Register a version whose reference is `frame`, and let it be champion."""
        reference = build_reference(frame, frame["obesity_level"], frame["event_timestamp"])
        reference.save(folder / "reference")
        mlflow.set_tracking_uri(self.settings.mlflow_uri)
        with mlflow.start_run(experiment_id=mlflow.set_experiment("monitor-tests").experiment_id) as run:
            mlflow.log_artifacts(str(folder), "model")
        client = MlflowClient(tracking_uri=self.settings.mlflow_uri, registry_uri=self.settings.mlflow_uri)
        if not client.search_registered_models(f"name = '{MODEL_NAME}'"):
            client.create_registered_model(MODEL_NAME)
        made = client.create_model_version(MODEL_NAME, source=f"{run.info.artifact_uri}/model", run_id=run.info.run_id)
        Registry(self.settings).set_alias(Alias.CHAMPION, str(made.version))
        return str(made.version)

    def announce(self, version: str) -> None:
        event = ModelEvent(type="ModelPromoted", time=datetime.now(UTC), model_name=MODEL_NAME, model_version=version)
        key, value, headers = encode(event, "trainer")
        with closing(producer(self.settings)) as sender:
            sender.send(Topics(self.settings).model_events.name, key=key, value=value, headers=headers).get(10)

    def publish(self, frame: pd.DataFrame, first_offset: int = 0) -> None:
        """Feature rows of the records `first_offset` on, all of partition 0."""
        with closing(producer(self.settings)) as sender:
            for offset, fields in enumerate(frame.to_dict("records"), start=first_offset):
                row = {name: fields[name] for name in (*ATTRIBUTES, "person_id")}
                row["event_timestamp"] = fields["event_timestamp"].to_pydatetime()
                origin = {"source_topic": "person.records", "source_partition": 0, "source_offset": offset}
                sender.send(
                    Topics(self.settings).features.name,
                    key=row["person_id"].encode(),
                    value=encode_row(row | origin),
                    partition=0,
                )
            sender.flush()

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """A monitor; killed at the end if it is still there."""
        variables = {
            f"HABITUS_{name.upper()}": str(value) for name, value in self.settings.model_dump().items() if value is not None
        }
        variables["HABITUS_REDIS_URL"] = self.settings.redis_url.get_secret_value()
        with (
            self.log.open("ab") as log,
            subprocess.Popen([sys.executable, "-m", "monitor"], env=os.environ | variables, stderr=log, stdout=log) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def logged(self, text: str, times: int = 1) -> None:
        """Wait until the monitors' log holds `text` so many times."""
        deadline = time.monotonic() + PATIENCE_S
        while self.log.read_text().count(text) < times:
            assert time.monotonic() < deadline, self.log.read_text()[-4_000:]
            time.sleep(0.1)

    def alerts(self, count: int) -> list[DriftAlert]:
        """The first `count` alerts, once they are there."""
        found: list[DriftAlert] = []
        deadline = time.monotonic() + PATIENCE_S
        with closing(consumer(self.settings, Topics(self.settings).alerts.name)) as reader:
            while len(found) < count:
                assert time.monotonic() < deadline, self.log.read_text()[-4_000:]
                for messages in reader.poll(timeout_ms=200).values():
                    found += [decode(DriftAlert, message.value) for message in messages]
        return found


@pytest.fixture
def bench(kafka_bootstrap: str, mlflow_uri: str, settings_for: Callable[..., MonitorSettings], tmp_path: Path) -> Bench:
    settings = settings_for(MonitorSettings, monitor_window=WINDOW, monitor_champion_poll_s=3_600.0)
    ensure_topics(settings, Topics(settings).all())
    return Bench(settings, tmp_path / "monitor.log")


def test_drift_is_found_across_a_kill_and_another_champion_is_compared_with(bench: Bench, tmp_path: Path) -> None:
    """Promise: what was read before a kill is not lost; a model event brings the new reference; SIGTERM ends it well."""
    before, drifted = people(TRAINED, 3_000, 1), people(LATER, 2 * WINDOW, 2, weight_scale=1.1)
    first = bench.champion(tmp_path / "first", before)
    bench.publish(before.head(300))
    bench.publish(drifted.head(WINDOW - 100), first_offset=300)
    with bench.running() as process:
        bench.logged("watching")
        process.kill()
    with bench.running() as process:
        bench.publish(drifted.iloc[WINDOW - 100 : WINDOW], first_offset=200 + WINDOW)
        (alert,) = bench.alerts(1)
        assert (alert.model_version, alert.events) == (first, WINDOW)
        assert "weight_kg" in [feature.name for feature in alert.features if feature.drifted]
        assert alert.window_from == drifted["event_timestamp"].iloc[0]
        assert alert.window_to == drifted["event_timestamp"].iloc[WINDOW - 1]

        shifted = people(Stretch(TRAINED.start, LATER.start), 3_000, 3, weight_scale=1.1)
        second = bench.champion(tmp_path / "second", shifted)
        bench.announce(second)
        bench.logged("another champion")
        bench.publish(drifted.iloc[WINDOW:], first_offset=300 + WINDOW)
        bench.logged("window closed: no attribute drifted")

        asked = time.monotonic()
        process.terminate()
        assert process.wait(timeout=10) == 0
        assert timedelta(seconds=time.monotonic() - asked) < timedelta(seconds=5)
    assert len(bench.alerts(1)) == 1
