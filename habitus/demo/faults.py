"""Bad records among good ones: each becomes a dead letter with its reason, and the stream goes on."""

import json
from dataclasses import dataclass

from kafka.errors import KafkaError
from rich.table import Table

from habitus.data.identity import DEFAULT_ANCHOR
from habitus.demo.beginning import check_counts
from habitus.demo.stage import Stage
from runtime.errors import Unavailable
from runtime.kafka import partition_for, producer
from streams.adapters.dead_letters import read_dead_letters

_ACK_WITHIN_S = 30.0
# Complete, as the history's records are: were answers missing here, the monitor would rightly call that a drift.
_GOOD = {
    "gender": "Female",
    "age_years": 31,
    "height_m": 1.68,
    "weight_kg": 62.5,
    "family_history_overweight": "yes",
    "high_caloric_food": "yes",
    "vegetable_frequency": 2,
    "main_meals_per_day": 3,
    "snacking_frequency": "Sometimes",
    "smokes": "no",
    "water_intake": 2,
    "monitors_calories": "no",
    "physical_activity_frequency": 1,
    "technology_use": 1,
    "alcohol_frequency": "Sometimes",
    "transport": "Walking",
}


@dataclass(frozen=True)
class _Bad:
    """A record that breaks the contract, and the field that its dead letter must name."""

    what: str
    value: bytes
    field: str
    wrong_partition: bool = False


def _record(person: str, **changes: object) -> bytes:
    return json.dumps({"person_id": person, **_GOOD, **changes}).encode()


_BAD = (
    _Bad("no JSON", b"weight=62", "value"),
    _Bad(
        "NaN as a weight",
        b'{"person_id": "bad-1", "gender": "Male", "age_years": 30, "height_m": 1.8, "weight_kg": NaN}',
        "weight_kg",
    ),
    _Bad("a height in centimetres", _record("bad-2", height_m=168), "height_m"),
    _Bad("a bool as a number", _record("bad-3", water_intake=True), "water_intake"),
    _Bad("a field under both names", _record("bad-4", Age=31), "age_years"),
    _Bad("a time without a zone", _record("bad-5", event_timestamp="2025-03-01T08:00:00"), "event_timestamp"),
    _Bad("an unknown transport", _record("bad-6", transport="Zeppelin"), "transport"),
    _Bad("another client's partitioner", _record("bad-7"), "partition", wrong_partition=True),
)


def send_bad_records(stage: Stage) -> None:
    """Eight bad records, a good one after each; the dead letters must name the field, the good ones be accepted."""
    before = {letter.offset for letter in read_dead_letters(stage.settings, stage.topics.records.name)}
    _publish(stage)
    stage.drain()
    letters = [each for each in read_dead_letters(stage.settings, stage.topics.records.name) if each.offset not in before]
    reasons = {(letter.value, field): letter for letter in letters for field in letter.failed_fields}
    table = Table("sent", "class", "reason in the dead letter", box=None, pad_edge=False)
    found = [reasons.get((bad.value, bad.field)) for bad in _BAD]
    for bad, letter in zip(_BAD, found, strict=True):
        table.add_row(bad.what, letter.error_class if letter else "-", letter.reason if letter else "none was found")
    stage.narrator.show(table)
    named = sum(letter is not None for letter in found)
    stage.narrator.check(
        "every bad record is a dead letter that names its field",
        held=named == len(_BAD) == len(letters),
        evidence=f"{named} of {len(_BAD)}",
    )
    check_counts(stage)


def _publish(stage: Stage) -> None:
    topic = stage.topics.records
    sent_ms = round(DEFAULT_ANCHOR.timestamp() * 1000)
    client = producer(stage.settings)
    try:
        for number, bad in enumerate(_BAD):
            key, good = f"bad-{number}".encode(), f"good-{number}"
            place = (partition_for(key, topic.partitions) + bad.wrong_partition) % topic.partitions
            client.send(topic.name, key=key, value=bad.value, partition=place, timestamp_ms=sent_ms)
            client.send(topic.name, key=good.encode(), value=_record(good), timestamp_ms=sent_ms)
        client.flush(timeout=_ACK_WITHIN_S)
    except KafkaError as error:
        raise Unavailable("kafka", f"the bad records could not be sent ({error!r})") from error
    finally:
        client.close()
    stage.published["records"] += 2 * len(_BAD)
