"""Bytes to fields: one reading of each message, or a rejection that names what is wrong."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.person import ATTRIBUTES, PersonRecord, parse_record
from feature_repo.wire import PROTOBUF, UNDECODABLE, decode_value, encode_row, record_fields
from protos.habitus.v1 import person_pb2
from runtime.errors import RecordRejected
from runtime.topics import RECORD_LIMIT_BYTES

FULL = {
    "person_id": "p1",
    "gender": "Male",
    "age_years": 30.5,
    "height_m": 1.8,
    "weight_kg": 80.0,
    "family_history_overweight": False,
    "high_caloric_food": True,
    "vegetable_frequency": 2.5,
    "main_meals_per_day": 3.0,
    "snacking_frequency": "Sometimes",
    "smokes": False,
    "water_intake": 2.0,
    "monitors_calories": True,
    "physical_activity_frequency": 0.0,
    "technology_use": 0.0,
    "alcohol_frequency": "no",
    "transport": "Bike",
}


def rejected(value: Any, content_type: str | None = None) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        decode_value(value, content_type)
    assert caught.value.error_class == UNDECODABLE
    assert caught.value.failed_fields
    return caught.value


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"   ",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"\xff\xfe",
        b'{"a": "\xff"}',
        b"{'a': 1}",
        b'{"a": 1,}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": {"b": NaN}}',
        b'{"a": 1} {"b": 2}',
        b'{"a": 01}',
        b'\xef\xbb\xbf{"a": 1}',
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "' + b"x" * RECORD_LIMIT_BYTES + b'"}',
    ],
)
def test_what_is_no_json_object_is_rejected(value: Any):
    rejected(value)


def test_duplicate_keys_are_named():
    assert rejected(b'{"a": 1, "b": 2, "a": 1}').failed_fields == ("a",)
    assert rejected(b'{"x": {"c": 1, "c": 2}}').failed_fields == ("c",)


def test_a_value_of_exactly_the_limit_is_taken():
    value = b'{"a": "' + b"x" * (RECORD_LIMIT_BYTES - 9) + b'"}'
    assert len(value) == RECORD_LIMIT_BYTES
    assert decode_value(value)


def test_json_keeps_what_was_written():
    assert decode_value(json.dumps(FULL).encode()) == FULL


@pytest.mark.parametrize("content_type", [PROTOBUF, "Application/X-Protobuf; proto=habitus.v1.PersonRecord"])
def test_protobuf_gives_the_same_record_as_json(content_type: str | None):
    message = person_pb2.PersonRecord(**FULL)
    decoded = parse_record(decode_value(message.SerializeToString(), content_type)).record
    assert decoded == parse_record(FULL).record


def test_protobuf_tells_false_and_zero_from_absent():
    fields = record_fields(person_pb2.PersonRecord(smokes=False, technology_use=0.0))
    assert fields == {"smokes": False, "technology_use": 0.0}


def test_protobuf_times_keep_their_nanoseconds_or_are_refused():
    message = person_pb2.PersonRecord(event_timestamp=Timestamp(seconds=1, nanos=5_000))
    assert record_fields(message)["event_timestamp"] == "1970-01-01T00:00:01.000005Z"
    for bad in (Timestamp(seconds=2**60), Timestamp(nanos=-1)):
        rejected(person_pb2.PersonRecord(event_timestamp=bad).SerializeToString(), PROTOBUF)


def test_protobuf_names_every_field_of_the_record():
    names = {field.name for field in person_pb2.PersonRecord.DESCRIPTOR.fields}
    assert names == set(PersonRecord.model_fields)
    assert set(ATTRIBUTES) < names


@given(st.binary(max_size=300))
def test_any_bytes_are_fields_or_a_rejection(value: Any):
    for content_type in (None, PROTOBUF):
        try:
            decode_value(value, content_type)
        except RecordRejected as error:
            assert error.failed_fields  # noqa: PT017  a rejection is one of the two ways


@given(st.dictionaries(st.sampled_from(ATTRIBUTES), st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)))
def test_a_row_is_read_back_as_it_was_written(row: Any):
    assert decode_value(encode_row(row) or b"{}") == row


def test_rows_are_written_with_times_in_utc_and_nan_as_null():
    row = {"at": datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC), "x": float("nan")}
    assert encode_row(row) == b'{"at":"2026-01-02T03:04:05.000006Z","x":null}'


@pytest.mark.parametrize("frames", [0, 300, 700])
@pytest.mark.parametrize("depth", [31, 33, 200, 480, 900])
def test_how_deep_a_record_may_be_does_not_depend_on_who_asks(frames: int, depth: int):
    """Promise: stream, backfill and verification judge alike, however deep in calls they are."""
    value = b'{"NObeyesdad": "N", "x": ' + b"[" * depth + b"]" * depth + b"}"

    def ask(more: int) -> Any:
        return ask(more - 1) if more else decode_value(value)

    if depth > 31:
        with pytest.raises(RecordRejected, match="nested too deeply"):
            ask(frames)
    else:
        assert ask(frames)["NObeyesdad"] == "N"


def test_brackets_within_texts_are_no_depth():
    text = "[" * 100 + '\\"' + "{" * 100
    assert decode_value(json.dumps({"a": text}).encode()) == {"a": text}
