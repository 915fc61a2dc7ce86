"""Every rule that a person record must keep, and that nothing breaks the validation itself."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from feature_repo.person import (
    ALIASES,
    ATTRIBUTES,
    CATEGORIES,
    EARLIEST_EVENT,
    FLAGS,
    FUTURE_TOLERANCE,
    LEVEL_FIELDS,
    ParsedRecord,
    PersonRecord,
    parse_record,
    resolve_time,
)
from feature_repo.wire import decode_value
from runtime.errors import RecordRejected
from tests.ranges import RANGES

REQUIRED = {"person_id": "p1", "gender": "Female", "age_years": 30, "height_m": 1.7, "weight_kg": 70}
OPTIONAL = tuple(name for name in ATTRIBUTES if name not in REQUIRED)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def rejected(fields: dict[str, Any]) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        parse_record(fields)
    return caught.value


def parsed(**fields: Any) -> PersonRecord:
    return parse_record(REQUIRED | fields).record


def test_there_are_sixteen_attributes_and_all_have_a_rule():
    assert len(ATTRIBUTES) == 16
    assert set(RANGES) | set(CATEGORIES) | set(FLAGS) == set(ATTRIBUTES)


@pytest.mark.parametrize("name", REQUIRED)
def test_required_fields_may_be_neither_absent_nor_null(name: str):
    without = {key: value for key, value in REQUIRED.items() if key != name}
    assert rejected(without).failed_fields == (name,)
    assert rejected(REQUIRED | {name: None}).failed_fields == (name,)


@pytest.mark.parametrize("name", OPTIONAL)
def test_other_attributes_may_be_absent_or_null(name: str):
    assert getattr(parsed(), name) is None
    assert getattr(parsed(**{name: None}), name) is None


@pytest.mark.parametrize("name", RANGES)
def test_numbers_have_ranges_with_their_ends(name: str):
    low, high = RANGES[name]
    for value in (low, high):
        assert getattr(parsed(**{name: value}), name) == value
        assert getattr(parsed(**{name: f" {value} "}), name) == value
    for value in (low - 1e-9, high + 1e-9, -low - 1, 1e300):
        assert rejected(REQUIRED | {name: value}).failed_fields == (name,)


@pytest.mark.parametrize("name", RANGES)
@pytest.mark.parametrize(
    "value",
    [
        True,
        False,
        "",
        "abc",
        "1_0",
        "0x10",
        "nan",
        "inf",
        "1e999",
        "٣",
        "--1",
        float("nan"),
        float("inf"),
        10**400,
        [1],
        {"a": 1},
        b"1",
    ],
)
def test_what_is_no_number_is_no_number(name: str, value: Any):
    assert rejected(REQUIRED | {name: value}).failed_fields == (name,)


@pytest.mark.parametrize("name", FLAGS)
def test_flags_are_yes_no_or_bool(name: str):
    for value, expected in (("yes", True), ("no", False), (True, True), (False, False)):
        assert getattr(parsed(**{name: value}), name) is expected
    for value in ("Yes", "true", "", 1, 0, 1.0, [], {}):
        assert rejected(REQUIRED | {name: value}).failed_fields == (name,)


@pytest.mark.parametrize("name", CATEGORIES)
def test_categories_are_exactly_the_published_words(name: str):
    for value in CATEGORIES[name]:
        assert getattr(parsed(**{name: value}), name) == value
    for value in ("", "female", " Male", "unknown", 1, True, 1.5, [], {}, ["Male"], {"a": "Male"}, "\ud800", "\x00"):
        assert rejected(REQUIRED | {name: value}).failed_fields == (name,)


@pytest.mark.parametrize("value", ["a", "A-1_2.3:4", "x" * 64, "-"])
def test_person_ids_are_short_plain_text(value: Any):
    assert parsed(person_id=value).person_id == value


@pytest.mark.parametrize("value", ["", "x" * 65, "a b", "a\n", "ä", "a/b", "\ud800", 7, True, None, ["p"], {}])
def test_other_person_ids_are_refused(value: Any):
    assert rejected(REQUIRED | {"person_id": value}).failed_fields == ("person_id",)


def test_the_published_names_are_as_good_as_ours():
    ours = REQUIRED | {"smokes": "no", "transport": "Bike"}
    names = {ours_: theirs for theirs, ours_ in ALIASES.items()}
    published = {names.get(name, name): value for name, value in ours.items()}
    assert parse_record(published).record == parse_record(ours).record


@pytest.mark.parametrize(("alias", "name"), ALIASES.items())
def test_a_field_under_both_names_is_a_violation_even_if_they_agree(alias: str, name: str):
    value = (REQUIRED | {"smokes": "no"}).get(name)
    assert name in rejected(REQUIRED | {alias: value, name: value}).failed_fields


def test_every_violated_field_is_named_at_once():
    fields = {"person_id": "p 1", "gender": "x", "age_years": 1, "height_m": True, "weight_kg": None, "smokes": 2, "Age": 3}
    assert set(rejected(fields).failed_fields) == {"person_id", "gender", "age_years", "height_m", "weight_kg", "smokes"}


def test_unknown_fields_are_kept_out_and_named():
    found = parse_record(REQUIRED | {"id": 7, "shoe_size": 43, "": None})
    assert found.unknown_fields == ("id", "shoe_size", "")


@pytest.mark.parametrize("name", LEVEL_FIELDS)
def test_a_label_inside_a_record_is_split_off_as_it_came(name: str):
    assert parse_record(REQUIRED | {name: ["any", "thing"]}).level == ["any", "thing"]
    assert parse_record(REQUIRED).level is None


def test_a_label_under_both_names_is_a_violation():
    assert rejected(REQUIRED | dict.fromkeys(LEVEL_FIELDS, "Normal_Weight")).failed_fields == ("obesity_level",)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05.678901z", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)),
        ("2026-01-02 03:04:05+02:00", datetime(2026, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1234567891Z", datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        (EARLIEST_EVENT.isoformat(), EARLIEST_EVENT),
    ],
)
def test_times_are_rfc_3339_with_a_zone_and_become_utc(text: str, moment: Any):
    found = parsed(event_timestamp=text).event_timestamp
    assert found == moment
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "value",
    [
        "2026-01-02T03:04:05",
        "2026-01-02",
        "20260102T030405Z",
        "2026-13-02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T25:04:05Z",
        "2026-01-02T03:04:05+99:00",
        "2026-W01-1T00:00:00Z",
        "1899-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "٢٠٢٦-01-02T03:04:05Z",
        "now",
        "",
        1767323045,
        1767323045.5,
        True,
        [],
        {},
        datetime(2026, 1, 1),  # noqa: DTZ001  the naive time is the point
    ],
)
def test_other_times_are_refused(value: Any):
    assert rejected(REQUIRED | {"event_timestamp": value}).failed_fields == ("event_timestamp",)


def test_a_record_without_a_time_takes_that_of_its_message():
    assert resolve_time(parsed(), AT).event_timestamp == AT


def test_a_record_may_be_a_little_ahead_of_its_message_and_no_more():
    limit = AT + FUTURE_TOLERANCE
    assert resolve_time(parsed(event_timestamp=limit.isoformat()), AT).event_timestamp == limit
    late = parsed(event_timestamp=(limit + timedelta(microseconds=1)).isoformat())
    with pytest.raises(RecordRejected) as caught:
        resolve_time(late, AT)
    assert caught.value.failed_fields == ("event_timestamp",)


def test_a_message_older_than_anybody_gives_no_time():
    with pytest.raises(RecordRejected):
        resolve_time(parsed(), EARLIEST_EVENT - timedelta(seconds=1))


def test_a_record_cannot_be_changed():
    with pytest.raises(ValidationError):
        parsed().weight_kg = 1.0


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**400)
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["\ud800", "yes", "Male", "30", "1e5", "2026-01-02T03:04:05Z", "\x00"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
NAMES = st.sampled_from([*PersonRecord.model_fields, *ALIASES, *LEVEL_FIELDS]) | st.text(st.characters(), max_size=8)


def judged(fields: dict[str, Any]) -> ParsedRecord | RecordRejected:
    """The two ways that a record may go; any other exception fails the test."""
    try:
        return parse_record(fields)
    except RecordRejected as error:
        assert error.failed_fields  # noqa: PT017  a rejection is one of the two ways
        assert all(isinstance(name, str) and name for name in error.failed_fields)  # noqa: PT017
        error.reason.encode("utf-8")  # it becomes a header of the dead letter
        return error


@settings(max_examples=400)
@given(st.dictionaries(NAMES, VALUES, max_size=8), st.booleans())
def test_any_fields_are_a_record_or_a_rejection_that_names_fields(fields: dict[str, Any], complete: bool):
    judged(REQUIRED | fields if complete else fields)


@settings(max_examples=200)
@given(st.dictionaries(NAMES, VALUES, max_size=8))
def test_any_json_is_a_record_or_a_rejection_that_names_fields(fields: dict[str, Any]):
    """Promise: nothing that can be sent ends the stream: lone surrogates, huge numbers, deep nesting, any type anywhere."""
    data = json.dumps(REQUIRED | fields).encode()
    try:
        decoded = decode_value(data)
    except RecordRejected as error:
        assert error.failed_fields  # noqa: PT017  either step may reject
        error.reason.encode("utf-8")
        return
    judged(decoded)


@pytest.mark.parametrize("name", [*PersonRecord.model_fields, "unknown", "NObeyesdad"])
@pytest.mark.parametrize(
    "text",
    [
        '"\\ud800"',
        '"\\udc00\\ud800"',
        "1" + "0" * 4_000,
        "1e400",
        "-1e400",
        "[" * 900 + "]" * 900,
        '{"a":' * 900 + "1" + "}" * 900,
        "{}",
        "[]",
        "[null]",
        "null",
        "true",
        '""',
        '"\\u0000"',
        "1e-400",
        "-0.0",
    ],
)
def test_hostile_values_in_any_field_are_judged(name: str, text: str):
    base = {key: value for key, value in REQUIRED.items() if key != name}
    data = json.dumps(base)[:-1] + f", {json.dumps(name)}: {text}}}"
    try:
        judged(decode_value(data.encode()))
    except RecordRejected as error:
        assert error.failed_fields  # noqa: PT017  either step may reject


@given(
    st.fixed_dictionaries(
        {name: st.floats(low, high) for name, (low, high) in RANGES.items()}
        | {name: st.sampled_from(values) for name, values in CATEGORIES.items()}
        | {name: st.booleans() for name in FLAGS}
    ),
    st.datetimes(datetime(1901, 1, 1), datetime(2200, 1, 1), timezones=st.just(timezone(timedelta(hours=3)))),  # noqa: DTZ001
)
def test_a_valid_record_survives_its_own_json(fields: dict[str, Any], moment: Any):
    record = parse_record({"person_id": "p1", **fields, "event_timestamp": moment.isoformat()}).record
    again = parse_record(decode_value(record.model_dump_json().encode())).record
    assert again == record
    assert {name: getattr(record, name) for name in fields} == fields
