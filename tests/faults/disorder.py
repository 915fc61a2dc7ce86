"""Messages as careless producers send them: late, twice, out of order, at equal times, by another client's partitioner.

Drawn from a seed, so that every run sends the same.
"""

import asyncio
import json
import random
from binascii import crc32
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from feature_repo.online.reader import ClientSource, OnlineReader, connect_async
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from runtime.kafka import producer
from streams.adapters.dead_letters import read_dead_letters
from streams.verify import verify
from tests.faults.oracle import Expected, Home, Place, expect
from tests.scene import Scene, person
from trainer.training_set import latest_labels

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 200
PERSONS = 8  # of some two hundred records each person has more than the fold remembers
LEVELS = ("Normal_Weight", "Overweight_Level_I", "Obesity_Type_I")


@dataclass(frozen=True)
class Sent:
    """Arguments of a producer's `send`, save the topic."""

    key: bytes
    value: bytes
    timestamp_ms: int
    partition: int | None = None


def records(count: int, partitions: int, seed: int = 4) -> Iterator[Sent]:
    """`count` messages and the same again of a tenth of them, as they are sent in turn."""
    draw = random.Random(seed)  # noqa: S311  no secret is drawn
    sent: list[Sent] = []
    for number in range(count):
        sent.append(_record(number, partitions, draw))
        yield sent[-1]
        if draw.random() < 0.1:
            yield draw.choice(sent)


def corrections(count: int, seed: int = 5) -> Iterator[Sent]:
    """Labels of the times that records may have: earlier and later than what the record says, at one time, and twice."""
    draw = random.Random(seed)  # noqa: S311  no secret is drawn
    for _ in range(count):
        name, day = f"p{draw.randrange(PERSONS)}", draw.randrange(DAYS)
        time = START + timedelta(days=day)
        content = {"person_id": name, "event_timestamp": time.isoformat(), "obesity_level": draw.choice(LEVELS)}
        label = Sent(name.encode(), json.dumps(content).encode(), _ms(time + timedelta(days=draw.choice((0, 1, 2)))))
        yield from [label] * draw.choice((1, 1, 2))


def publish(scene: Scene, count: int = 1_600) -> Home:
    """Send records, and corrections of their labels before them; returns where Kafka's own client puts each person."""
    to_send = [(scene.topics.labels.name, each) for each in corrections(count // 4)]
    to_send += [(scene.topics.records.name, each) for each in records(count, scene.settings.partitions)]
    with producer(scene.settings) as sender:
        sent = [(each, sender.send(topic, **vars(each))) for topic, each in to_send]
        sender.flush()
    return {each.key.decode(): future.get(timeout=10).partition for each, future in sent if each.partition is None}


def _record(number: int, partitions: int, draw: random.Random) -> Sent:
    name = f"p{draw.randrange(PERSONS)}"
    time = START + timedelta(days=draw.randrange(DAYS))
    fields = person(number, person_id=name, NObeyesdad=draw.choice(LEVELS), Weight=round(draw.uniform(50, 110), 1))
    stamp = _ms(time + draw.choice((timedelta(0), timedelta(days=1), timedelta(minutes=-5), timedelta(minutes=-5, seconds=-1))))
    if draw.random() < 0.8:
        fields["event_timestamp"] = time.isoformat()
    key = name.encode()
    # librdkafka's default for messages with a key; another client's for the others.
    partition = {0: crc32(key) % partitions, 1: draw.randrange(partitions)}.get(draw.randrange(10))
    return Sent(key, json.dumps(fields).encode(), stamp, partition)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def require_as_expected(scene: Scene, home: Home) -> Expected:
    """History, person.features, dead letters, online store and labels are what the oracle makes of the two topics."""
    expected = expect(scene.read(scene.topics.records.name), scene.read(scene.topics.labels.name), home)
    rows = {(row["source_partition"], row["source_offset"]): row for row in scene.rows(PERSON_FEATURES).to_pylist()}
    assert rows.keys() == expected.rows.keys()
    for place, wanted in expected.rows.items():
        assert {name: _close(rows[place][name]) for name in wanted} == wanted, place
    features = [json.loads(each.value) for each in scene.read(scene.topics.features.name)]
    assert {(each["source_partition"], each["source_offset"]) for each in features} == expected.rows.keys()
    letters = read_dead_letters(scene.settings, scene.topics.records.name)
    assert {(each.source.partition, each.source_offset): each.error_class for each in letters} == expected.rejected
    assert asyncio.run(_online(scene, list(expected.online))) == expected.online
    assert asyncio.run(verify(scene.settings)).holds
    counted = latest_labels(scene.rows(PERSON_LABELS).to_pandas(), datetime.max.replace(tzinfo=UTC))
    said = {(each["person_id"], each["event_timestamp"]): each["obesity_level"] for each in counted.to_dict("records")}
    assert said == expected.labels
    return expected


def _close(value: Any) -> Any:
    """What equals a float that was computed in another order; any other value as it is."""
    return pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value


async def _online(scene: Scene, names: Sequence[str]) -> dict[str, Place]:
    """The place in the log of the record behind each person's online row."""
    client = connect_async(scene.settings)
    try:
        found = await OnlineReader(ClientSource(client), scene.settings.project).read(names, ["bmi"])
    finally:
        await client.aclose()
    return {name: (row.source_partition, row.source_offset) for name, row in zip(names, found, strict=True) if row}
