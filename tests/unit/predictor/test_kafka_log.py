"""The prediction log takes what it is given at once, and loses rather than waits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from confluent_kafka import KafkaError, KafkaException

from feature_repo.labels import LEVELS
from feature_repo.predictions import LoggedPrediction
from predictor.adapters.kafka_log import KafkaPredictionLog, prediction_log
from runtime.errors import Unavailable
from runtime.settings import Settings

AT = datetime(2026, 3, 1, tzinfo=UTC)


def entry(number: int, person_id: str = "p1") -> LoggedPrediction:
    return LoggedPrediction(
        request_id=str(number),
        person_id=person_id,
        model_name="obesity-level",
        model_version="1",
        model_alias="champion",
        obesity_level=LEVELS[0],
        probabilities=dict.fromkeys(LEVELS, 1 / 7),
        features={"weight_kg": 70.0},
        event_timestamp=AT,
        feature_topic=None,
        feature_partition=None,
        feature_offset=None,
        served_at=AT,
        shadow=False,
    )


@dataclass
class FakeSender:
    """librdkafka's producer: takes up to `room` messages, delivers them at the next poll, or not."""

    room: int = 1_000
    refuses: bool = False
    error: KafkaError | None = None
    is_away: bool = False
    sent: list[tuple[bytes | None, str]] = field(default_factory=list)
    waiting: list[Callable[[], None]] = field(default_factory=list)

    def produce(self, _topic: str, *, key: bytes | None, value: bytes, on_delivery: Callable[[Any, Any], None]) -> None:
        if self.refuses:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        if len(self.waiting) >= self.room:
            raise BufferError("Local: Queue full")

        def deliver() -> None:
            if self.error is None:
                self.sent.append((key, orjson.loads(value)["request_id"]))
            on_delivery(self.error, None)

        self.waiting.append(deliver)

    def poll(self, _timeout: float) -> int:
        if not self.is_away:
            for deliver in self.waiting:
                deliver()
            self.waiting.clear()
        return 0

    def flush(self, _timeout: float) -> int:
        self.poll(0)
        return len(self.waiting)


@pytest.fixture
def sender() -> FakeSender:
    return FakeSender()


@pytest.fixture
def log(sender: FakeSender) -> KafkaPredictionLog:
    return KafkaPredictionLog(sender, "predictions", lambda: None)


def test_what_was_taken_is_sent_in_order_before_the_end(sender: FakeSender, log: KafkaPredictionLog) -> None:
    for number in range(50):
        log.put(entry(number))
    log.close()
    assert sender.sent == [(b"p1", str(number)) for number in range(50)]
    assert log.dropped == 0


def test_an_entry_of_nobody_has_no_key(sender: FakeSender, log: KafkaPredictionLog) -> None:
    log.put(entry(1, person_id=""))
    assert sender.sent == [(None, "1")]


def test_a_kafka_that_is_away_costs_the_entries_beyond_the_buffer(sender: FakeSender, log: KafkaPredictionLog) -> None:
    sender.room, sender.is_away = 10, True
    for number in range(5_000):
        log.put(entry(number))
    assert log.dropped == 5_000 - 10
    sender.is_away = False
    log.close()
    assert len(sender.sent) + log.dropped == 5_000


def test_what_kafka_refuses_is_counted(sender: FakeSender, log: KafkaPredictionLog) -> None:
    sender.refuses = True
    log.put(entry(1))
    assert log.dropped == 1


def test_what_is_not_delivered_in_time_is_counted(sender: FakeSender, log: KafkaPredictionLog) -> None:
    sender.error = KafkaError(KafkaError._MSG_TIMED_OUT)
    log.put(entry(1))
    assert log.dropped == 1


def test_what_is_left_at_the_end_is_counted(sender: FakeSender, log: KafkaPredictionLog) -> None:
    sender.is_away = True
    for number in range(3):
        log.put(entry(number))
    log.close()
    assert log.dropped == 3


def test_the_topic_is_made_as_soon_as_kafka_is_there(sender: FakeSender) -> None:
    attempts = []
    made = threading.Event()

    def make_topic() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise Unavailable("kafka", "not there")
        made.set()

    KafkaPredictionLog(sender, "predictions", make_topic).start()
    assert made.wait(20)
    assert len(attempts) == 3


def test_without_a_kafka_the_client_itself_takes_entries_and_ends() -> None:
    """Promise: the real client, with nobody there, neither blocks a request nor the end of the process."""
    log = prediction_log(Settings(kafka_bootstrap="127.0.0.1:1"), capacity=4)
    for number in range(10):
        log.put(entry(number))
    log.close()
    assert log.dropped == 10
