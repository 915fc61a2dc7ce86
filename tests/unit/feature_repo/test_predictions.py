"""The prediction log's entry: written by the predictor, read by the stream, kept as a row."""

from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.features import BY_NAME
from feature_repo.labels import LEVELS
from feature_repo.predictions import (
    INVALID_PREDICTION,
    LoggedPrediction,
    PredictionLogEntry,
    encode_prediction,
    parse_prediction,
)
from feature_repo.schemas import PREDICTIONS
from feature_repo.wire import decode_value
from runtime.errors import RecordRejected

AT = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
FEATURES = st.dictionaries(
    st.sampled_from(list(BY_NAME)),
    st.none() | st.booleans() | st.integers(0, 2**31) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
)


def entry(**changes: Any) -> PredictionLogEntry:
    values = {
        "request_id": "r1",
        "person_id": "p1",
        "model_name": "obesity-level",
        "model_version": "3",
        "model_alias": "champion",
        "obesity_level": LEVELS[2],
        "probabilities": dict.fromkeys(LEVELS, 1 / 7),
        "features": {"weight_kg": 70.0, "smokes": None, "records_seen": 3, "gender": "Male", "is_sedentary": True},
        "event_timestamp": AT,
        "feature_topic": "person.records",
        "feature_partition": 2,
        "feature_offset": 11,
        "served_at": AT,
    }
    return PredictionLogEntry(**(values | changes))


@given(FEATURES, TIMES, TIMES, st.none() | st.integers(0, 2**62))
def test_what_is_written_is_read(features: Any, seen: Any, served: Any, offset: Any):
    written = entry(features=features, event_timestamp=seen, served_at=served, feature_offset=offset)
    assert parse_prediction(decode_value(encode_prediction(LoggedPrediction(**written.model_dump())))) == written


def test_what_is_written_has_the_fields_that_are_read():
    assert set(LoggedPrediction.__annotations__) == set(PredictionLogEntry.model_fields)


@pytest.mark.parametrize("person_id", ["p1", ""])
def test_an_entry_is_a_row_of_the_history(person_id: str):
    row = entry(person_id=person_id, feature_topic=None, feature_offset=None).history_row("predictions", 1, 7, AT)
    table = pa.Table.from_pylist([row], schema=PREDICTIONS.schema)
    [back] = table.to_pylist()
    assert set(row) == set(PREDICTIONS.schema.names)
    assert (back["person_id"], back["source_offset"], back["event_timestamp"]) == (person_id, 7, AT)
    assert back[f"p_{LEVELS[0]}"] == 1 / 7
    assert decode_value(back["features"].encode()) == entry().features


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("obesity_level", "Heavy"),
        ("probabilities", {"Heavy": 0.5}),
        ("probabilities", {LEVELS[0]: 1.5}),
        ("served_at", "2026-01-01T00:00:00"),
        ("request_id", None),
        ("feature_offset", "x"),
    ],
)
def test_an_entry_that_is_none_names_its_fields(field: str, value: Any):
    fields = decode_value(encode_prediction(LoggedPrediction(**entry().model_dump()))) | {field: value}
    with pytest.raises(RecordRejected) as caught:
        parse_prediction(fields)
    assert caught.value.error_class == INVALID_PREDICTION
    assert any(name.startswith(field) for name in caught.value.failed_fields)


def test_an_entry_written_before_there_were_shadows_is_none():
    fields = entry().model_dump()
    del fields["shadow"]
    assert not parse_prediction(fields).shadow
    assert parse_prediction(fields | {"shadow": True}).shadow
