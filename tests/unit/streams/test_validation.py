"""Every way a message can be bad ends in a dead letter with the right reason, and the stream goes on."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from feature_repo.person import ATTRIBUTES
from protos.habitus.v1.person_pb2 import PersonRecord
from runtime.kafka import partition_for
from runtime.topics import RECORD_LIMIT_BYTES
from tests.ranges import RANGES

Person = Callable[..., dict[str, Any]]

FLAGS = ("family_history_overweight", "high_caloric_food", "smokes", "monitors_calories")
CATEGORIES = ("gender", "snacking_frequency", "alcohol_frequency", "transport")

BAD_FIELDS: list[tuple[str, Any]] = [
    *((name, low - 0.01) for name, (low, _) in RANGES.items()),
    *((name, high + 0.01) for name, (_, high) in RANGES.items()),
    *((name, value) for name in RANGES for value in (True, False, "tall", "", "nan", "Infinity", "1_0", [2], {}, 10**400)),
    *((name, value) for name in FLAGS for value in (1, 0, "Yes", "true", "", 1.0, [])),
    *((name, value) for name in CATEGORIES for value in ("other", "", 1, True, ["Female"])),
    *((name, None) for name in ("person_id", "gender", "age_years", "height_m", "weight_kg")),
    *((name, ...) for name in ("gender", "age_years", "height_m", "weight_kg")),
    *(
        ("event_timestamp", value)
        for value in (
            "2024-05-01T10:00:00",  # no zone
            "2024-05-01",
            "yesterday",
            1714557600,
            "2024-13-01T10:00:00Z",
            "1899-12-31T23:59:59Z",
            "0001-01-01T00:00:00+14:00",  # before the calendar in UTC
            "2024-05-01T12:05:00.001Z",  # over five minutes after the message
        )
    ),
]
# What JSON cannot say, or says twice: the reader names it before any field is looked at.
UNDECODABLE: list[tuple[str, bytes | None, str]] = [
    ("null value", None, "the value is null"),
    ("empty value", b"", "the value is empty"),
    ("no JSON", b"weight=61", "is no JSON"),
    ("cut short", b'{"person_id": "ann"', "is no JSON"),
    ("not UTF-8", b'{"person_id": "\xff"}', "not UTF-8"),
    ("an array", b"[1, 2]", "no object"),
    ("a string", b'"ann"', "no object"),
    ("JSON null", b"null", "no object"),
    ("NaN", b'{"weight_kg": NaN}', "weight_kg: NaN is no JSON number"),
    ("infinity", b'{"weight_kg": -Infinity}', "weight_kg: -Infinity is no JSON number"),
    ("NaN within", b'{"note": [{"a": NaN}], "weight_kg": Infinity}', "note: NaN is no JSON number; weight_kg: Infinity"),
    ("duplicate key", b'{"weight_kg": 61, "weight_kg": 62}', "weight_kg: given twice"),
    ("half a surrogate", b'{"person_id": "\\ud800"}', "half a surrogate pair"),
    ("half a surrogate as a key", b'{"\\ud800": 1}', "half a surrogate pair"),
    ("too large", b'{"note": "' + b"x" * RECORD_LIMIT_BYTES + b'"}', "the limit is 65536"),
    ("nested too deeply", b'{"note": ' + b"[" * 30_000, "nested too deeply"),
    ("an endless number", b'{"weight_kg": ' + b"9" * 5_000 + b"}", "is no JSON"),
    ("a second document", b"{}{}", "is no JSON"),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS, ids=lambda each: str(each)[:30])
def test_a_bad_field_is_named_in_the_dead_letter(world: Any, person: Person, name: str, value: object) -> None:
    told = world.rejection(world.send(person(**{name: value}), key=b"ann", partition=partition_for(b"ann", 4)))
    assert told["error_class"] == "invalid_record"
    assert told["failed_fields"] == name
    assert told["reason"].startswith(f"{name}: ")


@pytest.mark.parametrize("bad_id", ["", "a b", "é", "a\n", "x" * 65, "a/b", 7, True, ["ann"]])
def test_a_person_id_outside_its_alphabet_is_rejected(world: Any, person: Person, bad_id: object) -> None:
    assert world.rejection(world.send(person(person_id=bad_id)))["failed_fields"] == "person_id"


@pytest.mark.parametrize(("what", "value", "reason"), UNDECODABLE, ids=[what for what, _, _ in UNDECODABLE])
def test_what_cannot_be_read_says_why(world: Any, what: str, value: bytes | None, reason: str) -> None:
    told = world.rejection(world.send(value))
    assert told["error_class"] == "undecodable"
    assert reason in told["reason"]


def test_every_violated_field_is_named(world: Any, person: Person) -> None:
    told = world.rejection(world.send(person(age_years=3, weight_kg="heavy", smokes="maybe")))
    assert told["failed_fields"] == "age_years,weight_kg,smokes"


def test_a_field_under_both_its_names_is_rejected(world: Any, person: Person) -> None:
    told = world.rejection(world.send(person(Weight=61.5)))
    assert (told["failed_fields"], "both of its names" in told["reason"]) == ("weight_kg", True)


def test_a_label_under_both_its_names_is_rejected(world: Any, person: Person) -> None:
    told = world.rejection(world.send(person(NObeyesdad="Normal_Weight", obesity_level="Normal_Weight")))
    assert told["failed_fields"] == "obesity_level"


@pytest.mark.parametrize("key", [None, b"", b"bob", b"Ann", b"ann ", b"\xff"])
def test_a_key_that_is_not_the_person_is_misrouted(world: Any, person: Person, key: bytes | None) -> None:
    told = world.rejection(world.send(person(), key=key))
    assert (told["error_class"], told["failed_fields"]) == ("misrouted", "key")
    assert "send the message with the person_id, in UTF-8, as its key" in told["reason"]


def test_a_record_in_another_partition_is_misrouted_and_told_the_remedy(world: Any, person: Person) -> None:
    told = world.rejection(world.send(person(), partition=(partition_for(b"ann", 4) + 1) % 4))
    assert (told["error_class"], told["failed_fields"]) == ("misrouted", "partition")
    assert "partitioner=murmur2_random" in told["reason"]


@pytest.mark.parametrize("timestamp_ms", [-1, 10**16])
def test_a_message_without_a_usable_timestamp_is_rejected(world: Any, person: Person, timestamp_ms: int) -> None:
    assert world.rejection(world.send(person(), timestamp_ms=timestamp_ms))["failed_fields"] == "message timestamp"


def test_malformed_protobuf_is_rejected(world: Any) -> None:
    told = world.rejection(world.send(b"\xff\xff", headers=(("content-type", b"application/x-protobuf"),)))
    assert "no protobuf PersonRecord" in told["reason"]


def test_protobuf_that_breaks_a_rule_names_the_field(world: Any) -> None:
    message = PersonRecord(person_id="ann", gender="Male", age_years=200, height_m=1.8, weight_kg=float("nan"))
    told = world.rejection(
        world.send(message.SerializeToString(), key=b"ann", headers=(("content-type", b"application/x-protobuf"),))
    )
    assert told["failed_fields"] == "age_years,weight_kg"


def test_a_valid_protobuf_record_is_accepted(world: Any) -> None:
    message = PersonRecord(person_id="ann", gender="Male", age_years=40, height_m=1.8, weight_kg=80)
    message.event_timestamp.FromJsonString("2024-05-01T10:00:00Z")
    sent = world.send(message.SerializeToString(), key=b"ann", headers=(("content-type", b"application/x-protobuf"),))
    assert world.deliver(sent).accepted == 1
    assert world.features.rows()[0]["bmi"] == 80 / (1.8 * 1.8)


def test_a_published_row_is_a_valid_record(world: Any) -> None:
    """Promise: the published column names, numbers as text and yes/no are accepted as they stand in the CSV file."""
    row = {
        "person_id": "ann", "Gender": "Female", "Age": "21.0", "Height": "1.62", "Weight": "64.0",
        "family_history_with_overweight": "yes", "FAVC": "no", "FCVC": "2.0", "NCP": "3.0", "CAEC": "Sometimes",
        "SMOKE": "no", "CH2O": "2.0", "SCC": "no", "FAF": "0.0", "TUE": "1.0", "CALC": "no",
        "MTRANS": "Public_Transportation", "NObeyesdad": "Normal_Weight",
    }  # fmt: skip
    applied = world.deliver(world.send(row))
    assert (applied.accepted, applied.labels, applied.unknown_fields) == (1, 1, 0)
    assert all(world.features.rows()[0][name] is not None for name in ATTRIBUTES)


@pytest.mark.parametrize("name", [each for each in ATTRIBUTES if each not in {"gender", "age_years", "height_m", "weight_kg"}])
@pytest.mark.parametrize("value", [None, ...])
def test_an_optional_attribute_may_be_null_or_absent(world: Any, person: Person, name: str, value: object) -> None:
    assert world.deliver(world.send(person(**{name: value}))).accepted == 1
    assert world.features.rows()[0][name] is None


def test_an_absent_time_is_the_messages(world: Any, person: Person) -> None:
    sent = world.send(person(event_timestamp=...))
    world.deliver(sent)
    assert world.features.rows()[0]["event_timestamp"] == sent.time


def test_unknown_fields_are_left_out_and_counted(world: Any, person: Person) -> None:
    applied = world.deliver(world.send(person(shoe_size=39, note={"a": [1]})))
    assert (applied.accepted, applied.unknown_fields) == (1, 2)
    assert b"shoe_size" not in world.publisher.published[0].value


def test_the_stream_goes_on_past_every_bad_message(world: Any, person: Person) -> None:
    """Promise: good records among all kinds of bad ones are materialised, and each is in exactly one place."""
    bad = [world.send(value, partition=1) for _, value, _ in UNDECODABLE]
    bad += [world.send(person(**{name: value}), key=b"ann", partition=1) for name, value in BAD_FIELDS]
    good = [world.send(person(person_id=f"p{number}")) for number in range(40)]
    ours = [each for each in (*bad, *good) if each.shard.partition == 1]
    applied = world.deliver(*ours)
    assert applied.accepted == sum(each.shard.partition == 1 for each in good) > 0
    assert applied.accepted + applied.rejected == len(ours)
    assert len(world.publisher.buried) == len(bad)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"obesity_level": "Thin"}, "obesity_level"),
        ({"obesity_level": None}, "obesity_level"),
        ({"obesity_level": "Normal_Weight", "NObeyesdad": "Normal_Weight"}, "obesity_level"),
        ({"event_timestamp": "2024-05-01T10:00:00"}, "event_timestamp"),
        ({"event_timestamp": None}, "event_timestamp"),
        ({"event_timestamp": "2024-05-01T12:05:00.001Z"}, "event_timestamp"),  # over five minutes after the message
        ({"person_id": "a b"}, "person_id"),
    ],
)
def test_a_bad_label_is_rejected(world: Any, fields: dict[str, Any], field: str) -> None:
    label = {"person_id": "ann", "event_timestamp": "2024-05-01T10:00:00Z", "obesity_level": "Normal_Weight"}
    told = world.rejection(world.send(label | fields, topic="person.labels"))
    assert (told["error_class"], told["failed_fields"]) == ("invalid_label", field)


def test_a_label_on_anothers_key_is_misrouted(world: Any) -> None:
    label = {"person_id": "ann", "event_timestamp": "2024-05-01T10:00:00Z", "obesity_level": "Normal_Weight"}
    assert world.rejection(world.send(label, topic="person.labels", key=b"bob"))["error_class"] == "misrouted"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"obesity_level": "Thin"}, "obesity_level"),
        ({"served_at": "now"}, "served_at"),
        ({"served_at": "9999-12-31T23:59:59-14:00"}, "served_at"),
        ({"probabilities": {"Normal_Weight": 1.5}}, "probabilities.Normal_Weight"),
        ({"feature_offset": 2**64}, "feature_offset"),
        ({"feature_partition": 2**40}, "feature_partition"),
        ({"request_id": None}, "request_id"),
    ],
)
def test_a_bad_prediction_is_rejected(world: Any, prediction: dict[str, Any], fields: dict[str, Any], field: str) -> None:
    told = world.rejection(world.send(prediction | fields, topic="predictions"))
    assert (told["error_class"], told["failed_fields"]) == ("invalid_prediction", field)


def test_protobuf_is_for_records_alone(world: Any) -> None:
    headers = (("content-type", b"application/x-protobuf; v=1"),)
    assert "takes JSON" in world.rejection(world.send(b"\x0a\x03ann", topic="person.labels", headers=headers))["reason"]


def test_a_level_that_is_no_text_goes_to_the_label_path_all_the_same(world: Any, person: Person) -> None:
    """Promise: the record is kept; its label is judged where labels are judged."""
    applied = world.deliver(world.send(person(obesity_level=[["deep"]])))
    assert (applied.accepted, applied.labels) == (1, 1)
    assert json.loads(world.publisher.labelled[0].value)["obesity_level"] == "list"
