"""Records and labels in any order and any number of times: the end is what a naive computation from the two topics gives.

What protects: features are judged by event time and by the place in the log alone; a record counts where Kafka's default
partitioner puts it; of several labels the one of the greatest (message timestamp, offset) counts.
"""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from runtime.kafka import producer
from tests.faults.disorder import publish, require_as_expected
from tests.scene import BASE_MS, STARTS_WITHIN_S, Scene, person, wait_until
from trainer.training_set import latest_labels

pytestmark = pytest.mark.timeout(180)

_DAY_MS = 86_400_000


def test_late_repeated_equal_and_misrouted_records_end_as_a_naive_computation_does(scene: Scene) -> None:
    """Promise: also when the worker is killed on the way and goes on with other batches."""
    home = publish(scene)
    scene.start(HABITUS_STREAMS_BATCH="70")
    wait_until(lambda: scene.rows(PERSON_FEATURES).num_rows > 0, STARTS_WITHIN_S, "a first batch")
    scene.kill()
    scene.start(HABITUS_STREAMS_BATCH="500")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    expected = require_as_expected(scene, home)
    assert set(expected.rejected.values()) == {"misrouted", "invalid_record"}
    assert any(row["late"] for row in expected.rows.values())
    assert max(row["records_seen"] for row in expected.rows.values()) > 100
    times = Counter((row["person_id"], row["event_timestamp"]) for row in expected.rows.values())
    assert max(times.values()) > 1


def test_the_label_said_last_counts_whenever_it_arrives(scene: Scene) -> None:
    """Promise: a correction outlives what comes again from before it, be it the record, the first label or both."""
    time = datetime.fromtimestamp(BASE_MS / 1000, UTC)
    record = json.dumps(person(1, person_id="ann", event_timestamp=time.isoformat(), NObeyesdad="Normal_Weight")).encode()

    def send(topic: str, value: bytes, later_ms: int) -> None:
        with producer(scene.settings) as sender:
            sender.send(topic, key=b"ann", value=value, timestamp_ms=BASE_MS + later_ms)
            sender.flush()
        scene.drain(scene.topics.records.name, scene.topics.labels.name)

    def say(level: str, later_ms: int) -> None:
        content = {"person_id": "ann", "event_timestamp": time.isoformat(), "obesity_level": level}
        send(scene.topics.labels.name, json.dumps(content).encode(), later_ms)

    def counts() -> str:
        (level,) = latest_labels(scene.rows(PERSON_LABELS).to_pandas(), time + timedelta(days=9))["obesity_level"]
        return str(level)

    scene.start()
    send(scene.topics.records.name, record, 0)
    assert counts() == "Normal_Weight"
    say("Overweight_Level_I", _DAY_MS)
    assert counts() == "Overweight_Level_I"
    send(scene.topics.records.name, record, 0)
    say("Normal_Weight", 0)
    assert counts() == "Overweight_Level_I"
    say("Obesity_Type_I", _DAY_MS)
    assert counts() == "Obesity_Type_I"
    say("Overweight_Level_I", _DAY_MS - 1)
    say("Obesity_Type_I", _DAY_MS)
    assert counts() == "Obesity_Type_I"
