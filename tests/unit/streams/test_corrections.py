"""A correction changes what it names and nothing else; what it cannot do is a rejection that names the field."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.wire import PROTOBUF
from protos.habitus.v1.person_pb2 import PersonRecord as PersonRecordProto
from runtime.errors import RecordRejected
from streams.letters.corrections import Edit, Given, corrected, parse_assigned, parse_given, parse_renamed, with_event_time
from streams.letters.dead_letters import DeadLetterRead

FIRST_SENT_MS, NOW_MS = 1_714_564_800_123, 1_800_000_000_000
FIRST_SENT = "2024-05-01T12:00:00.123+00:00"
AS_PROTOBUF = (("content-type", PROTOBUF.encode()),)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | names


def edited(edit: Edit, **fields: Any) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(corrected(json.dumps(fields).encode(), (), edit) or b"")
    return made


@given(st.dictionaries(names, values), names, values)
@settings(max_examples=40, deadline=None)
def test_an_edit_leaves_every_other_field_as_it_was(fields: dict[str, Any], name: str, value: Any) -> None:
    others = {each: held for each, held in fields.items() if each != name}
    assert edited(Edit(assigned=((name, value),)), **fields)[name] == value
    assert edited(Edit(dropped=(name,)), **fields) == others
    assert edited(Edit(assigned=((name, value),)), **others).items() >= others.items()


def test_fields_are_renamed_then_dropped_then_set() -> None:
    edit = Edit((("mass", "weight_kg"),), ("weight_kg",), (("height_m", 1.7),))
    assert edited(edit, mass=61, height_m=9) == {"height_m": 1.7}
    assert edited(Edit((("mass", "weight_kg"),)), mass=61, weight_kg=3) == {"weight_kg": 61}
    assert edited(Edit((("mass", "weight_kg"),), ("nothing",)), a=1) == {"a": 1}


def test_a_field_that_is_set_replaces_itself_under_its_other_name() -> None:
    assert edited(Edit(assigned=(("weight_kg", 61),)), Weight=3, weight_kg=4, a=1) == {"a": 1, "weight_kg": 61}
    assert edited(Edit(assigned=(("obesity_level", "x"),)), NObeyesdad="y") == {"obesity_level": "x"}


def test_a_value_without_correction_is_the_same_bytes() -> None:
    assert corrected(b'{ "a":1.0}', (), Edit()) == b'{ "a":1.0}'
    assert corrected(b"\xff", (), Edit()) == b"\xff"


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("weight_kg=61.5", "weight_kg", 61.5),
        ("gender=Male", "gender", "Male"),
        ('person_id="7"', "person_id", "7"),
        ("smokes=null", "smokes", None),
        ("Age=NaN", "Age", "NaN"),
        ("note=a=b", "note", "a=b"),
        ("note=", "note", ""),
    ],
)
def test_a_value_is_json_or_else_a_string(text: str, name: str, value: object) -> None:
    assert parse_assigned(text) == (name, value)


@pytest.mark.parametrize("text", ["weight_kg", "=3"])
def test_what_sets_no_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write weight_kg="):
        parse_assigned(text)


def test_what_renames_no_field_is_refused() -> None:
    assert parse_renamed("mass=weight_kg") == ("mass", "weight_kg")
    for text in ("mass", "mass=", "=mass"):
        with pytest.raises(ValueError, match="write mass=weight_kg"):
            parse_renamed(text)


def test_a_protobuf_value_stays_protobuf() -> None:
    value = PersonRecordProto(person_id="ann", weight_kg=3).SerializeToString()
    made = corrected(value, AS_PROTOBUF, Edit(assigned=(("Weight", 61), ("smokes", True))))
    assert PersonRecordProto.FromString(made or b"") == PersonRecordProto(person_id="ann", weight_kg=61, smokes=True)


@pytest.mark.parametrize(("name", "value"), [("smokes", "yes"), ("favourite_colour", "red")])
def test_what_protobuf_cannot_hold_is_named(name: str, value: object) -> None:
    with pytest.raises(RecordRejected) as refused:
        corrected(b"", (), Edit(assigned=((name, value),)))
    assert refused.value.failed_fields == ("value",)
    with pytest.raises(RecordRejected) as refused:
        corrected(PersonRecordProto(person_id="ann").SerializeToString(), AS_PROTOBUF, Edit(assigned=((name, value),)))
    assert refused.value.failed_fields == (name,)


def test_a_record_without_a_time_keeps_that_of_its_first_message() -> None:
    made = with_event_time(b'{"person_id": "ann", "note": "\xc3\xa9", "event_timestamp": null}', (), FIRST_SENT_MS, NOW_MS)
    assert json.loads(made or b"") == {"person_id": "ann", "note": "é", "event_timestamp": FIRST_SENT}


def test_a_protobuf_record_without_a_time_keeps_that_of_its_first_message() -> None:
    unknown = b"\xf8\x01\x05"  # field 31, which this version does not know
    value = PersonRecordProto(person_id="ann").SerializeToString() + unknown
    made = with_event_time(value, AS_PROTOBUF, FIRST_SENT_MS, NOW_MS) or b""
    assert PersonRecordProto.FromString(made).event_timestamp.ToMilliseconds() == FIRST_SENT_MS
    assert unknown in made


def test_a_record_with_a_time_of_its_own_is_not_touched() -> None:
    value = b'{ "event_timestamp": "2020-01-01T00:00:00Z" }'
    assert with_event_time(value, (), FIRST_SENT_MS, NOW_MS) == value


def test_a_stamp_from_the_future_becomes_the_present() -> None:
    """Promise: a producer whose clock ran ahead does not make the record invalid for ever."""
    made = json.loads(with_event_time(b'{"a": 1}', (), NOW_MS + 10_000_000, FIRST_SENT_MS) or b"")
    assert made["event_timestamp"] == FIRST_SENT


@pytest.mark.parametrize("sent_ms", [None, -1, 10**15])
def test_a_record_whose_time_nobody_knows_needs_one(sent_ms: int | None) -> None:
    with pytest.raises(RecordRejected, match="event_timestamp") as refused:
        with_event_time(b'{"a": 1}', (), sent_ms, NOW_MS)
    assert "--set event_timestamp=" in refused.value.reason


def test_values_are_given_as_they_are_shown() -> None:
    lines = [
        '{"letter": 3, "value": "{}", "reason": "?"}',
        "",
        '{"letter": 4, "value": {"a": "é"}}',
        '{"letter": 5, "value": "base64:/w=="}',
    ]
    assert parse_given(lines, "t") == {
        3: Given(b"{}", is_text=True),
        4: Given('{"a": "é"}'.encode(), is_text=True),
        5: Given(b"\xff", is_text=False),
    }


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 1"),
        ("[]", "line 1: is no letter"),
        ('{"value": "{}"}', "line 1: is no letter"),
        ('{"letter": true, "value": "{}"}', "line 1: is no letter"),
        ('{"letter": 1}', "line 1: is no letter"),
        ('{"letter": 1, "value": "base64:?"}', "line 1"),
        ('{"letter": 1, "value": "{}", "source_topic": "other"}', "line 1: the letter is of other, not of t"),
    ],
)
def test_a_line_that_is_no_letter_is_named(line: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_given([line], "t")


def test_a_letter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2: letter 1 is given twice"):
        parse_given(['{"letter": 1, "value": "{}"}'] * 2, "t")


def test_json_in_the_place_of_protobuf_loses_the_content_type_and_nothing_else() -> None:
    letter = DeadLetterRead.of(0, b"ann", b"abc", [*AS_PROTOBUF, ("trace", b"1"), ("source_topic", b"t")])
    assert Given(b"{}", is_text=True).headers(letter) == (("trace", b"1"),)
    assert Given(b"\xff", is_text=False).headers(letter) == letter.headers
    assert Given(b"abc", is_text=True).headers(letter) == letter.headers
