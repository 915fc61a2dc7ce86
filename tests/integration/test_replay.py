"""A replay against a real Kafka: keys, times, partitions, repeatability."""

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from kafka import TopicPartition

from habitus.data.columns import PERSON
from habitus.data.identity import Stretch
from habitus.data.messages import Message, Plan, ReplayOptions
from habitus.data.replay import replay
from habitus.data.simulator import simulate
from runtime.clock import SystemClock
from runtime.errors import HabitusError
from runtime.kafka import consumer, partition_for
from runtime.settings import Settings
from runtime.topics import Topics

ROWS = simulate(400, stretch=Stretch.named("production"), seed=11)
OPTIONS = ReplayOptions("current")


def everything_in(settings: Settings, topic: str) -> dict[int, list[Any]]:
    """All messages of a topic by partition, in offset order."""
    reader = consumer(settings)
    partitions = [TopicPartition(topic, number) for number in range(settings.partitions)]
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    ends = reader.end_offsets(partitions)
    found: dict[int, list[Any]] = {partition.partition: [] for partition in partitions}
    while any(reader.position(partition) < ends[partition] for partition in partitions):
        for partition, messages in reader.poll(timeout_ms=500).items():
            found[partition.partition].extend(messages)
    reader.close()
    return found


@pytest.fixture
def settings(kafka_bootstrap: str, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(Settings)


def test_every_message_is_there_with_the_key_time_and_partition_that_the_contract_names(settings: Settings) -> None:
    progress: list[tuple[int, int]] = []
    summary = replay(settings, ROWS, OPTIONS, progress=lambda sent, total: progress.append((sent, total)))
    assert (summary.records, summary.labels, summary.persons) == (400, 400, ROWS[PERSON].nunique())
    assert progress[-1] == (800, 800)
    planned = list(Plan(ROWS, OPTIONS, now=SystemClock().now()))
    for kind, topic in (("record", Topics(settings).records.name), ("label", Topics(settings).labels.name)):
        found = everything_in(settings, topic)
        messages = [Message(kind, each.key, each.value, each.timestamp) for part in found.values() for each in part]
        assert sorted(messages) == sorted(message for message in planned if message.kind == kind)
        assert all(partition_for(each.key, settings.partitions) == number for number, part in found.items() for each in part)
        assert all(each.timestamp_type == 0 for part in found.values() for each in part), "CreateTime"
        for part in found.values():
            assert [each.timestamp for each in part] == sorted(each.timestamp for each in part)


def test_a_replay_done_twice_sends_the_same_bytes_to_the_same_places(settings: Settings) -> None:
    bare = ROWS.drop(columns=["person_id", "event_timestamp"]).head(60)
    for _ in range(2):
        replay(settings, bare, OPTIONS)
    for part in everything_in(settings, Topics(settings).records.name).values():
        messages = [(each.key, each.value, each.timestamp) for each in part]
        assert messages[: len(part) // 2] == messages[len(part) // 2 :]


def test_rows_that_break_the_contract_reach_the_stream(settings: Settings) -> None:
    rows = pd.DataFrame({"person_id": ["a b", "c"], "weight_kg": ["heavy", -1], "event_timestamp": ["2999-01-01T00:00:00Z", "x"]})
    assert replay(settings, rows, OPTIONS).records == 2
    found = [each for part in everything_in(settings, Topics(settings).records.name).values() for each in part]
    assert {json.loads(each.value)["weight_kg"] for each in found} == {"heavy", -1}


def test_a_rate_is_kept(settings: Settings) -> None:
    summary = replay(settings, ROWS.head(50), ReplayOptions("current", labels=False, rate_per_s=50))
    assert summary.seconds > 0.9


def test_a_message_that_kafka_refuses_is_an_error(settings: Settings) -> None:
    rows = ROWS.head(3).assign(note=["fine", "x" * 2_000_000, "fine"])
    with pytest.raises(HabitusError, match="Kafka refused a message"):
        replay(settings, rows, OPTIONS)
