"""What events and topics promise."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from runtime.errors import RecordRejected
from runtime.events import DriftAlert, FeatureDrift, ModelEvent, decode, encode
from runtime.settings import Settings
from runtime.topics import FOREVER, Topics

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def test_an_event_survives_the_wire():
    drift = FeatureDrift(name="weight_kg", psi=0.02, test="ks", statistic=0.1, p_value=1e-9, drifted=True)
    alert = DriftAlert(
        time=NOON, model_version="3", window_from=NOON, window_to=NOON, events=1000, features=(drift,), summary="heavier"
    )
    key, value, headers = encode(alert, "monitor")
    assert key == b"3"
    assert decode(DriftAlert, value) == alert
    assert dict(headers)["ce_type"] == b"habitus.drift.features"
    assert dict(headers)["ce_time"] == b"2025-01-01T12:00:00Z"


def test_what_is_no_event_is_rejected_by_field():
    with pytest.raises(RecordRejected) as caught:
        decode(ModelEvent, b'{"type": "ModelLost", "time": "2025-01-01T12:00:00Z"}')
    assert {"type", "model_name", "model_version"} <= set(caught.value.failed_fields)


def test_the_raw_log_is_kept_for_ever_and_the_rest_for_a_time(tmp_path: Path):
    topics = Topics(Settings(home=tmp_path, topic_prefix="t."))
    assert topics.records.name == "t.person.records"
    assert topics.records.configs["retention.ms"] == str(FOREVER)
    assert topics.features.configs["retention.ms"] == str(7 * 24 * 3600 * 1000)
    assert {topic.configs["message.timestamp.type"] for topic in topics.all()} == {"CreateTime"}


def test_what_the_stream_makes_is_taken_whatever_the_clock_of_its_worker_says(tmp_path: Path):
    topics = Topics(Settings(home=tmp_path, topic_prefix="t."))
    for topic in (topics.features, topics.records_dlq, topics.labels_dlq, topics.predictions_dlq):
        assert topic.configs["message.timestamp.after.max.ms"] == str(2**63 - 1)


def test_a_dead_letter_fits_where_its_source_fits(tmp_path: Path):
    topics = Topics(Settings(home=tmp_path))
    assert topics.records_dlq.name == "person.records.dlq"
    assert topics.records_dlq.max_message_bytes > topics.records.max_message_bytes
