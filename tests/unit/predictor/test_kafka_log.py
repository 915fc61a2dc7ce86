"""The prediction log takes what it is given at once, and loses rather than waits."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Never

import orjson
import pytest
from kafka.errors import KafkaTimeoutError

from feature_repo.labels import LEVELS
from feature_repo.predictions import PredictionLogEntry
from predictor.adapters.kafka_log import KafkaPredictionLog
from runtime.errors import Unavailable

AT = datetime(2026, 3, 1, tzinfo=UTC)


def entry(number: int, person_id: str = "p1"):
    return PredictionLogEntry(
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
    )


@dataclass
class FakeFuture:
    """A send that went well, or not."""

    error: Exception | None = None

    def add_errback(self, callback: Any):
        if self.error:
            callback(self.error)


@dataclass
class FakeSender:
    """A producer that can be stuck, refuse or fail."""

    sent: list[tuple[bytes | None, str]] = field(default_factory=list)
    closed: bool = False
    fails: bool = False
    refuses: bool = False
    open: threading.Event = field(default_factory=threading.Event)

    def send(self, _topic: str, *, key: bytes | None, value: Any):
        self.open.wait(5)
        if self.refuses:
            raise KafkaTimeoutError("no room")
        self.sent.append((key, orjson.loads(value)["request_id"]))
        return FakeFuture(KafkaTimeoutError("lost") if self.fails else None)

    def close(self, timeout: float):
        self.closed = timeout > 0


@pytest.fixture
def sender():
    found = FakeSender()
    found.open.set()
    return found


def started(sender: Any, capacity: int = 100):
    log = KafkaPredictionLog(lambda: sender, "predictions", capacity)
    log.start()
    return log


def test_what_was_taken_is_sent_in_order_before_the_end(sender: Any):
    log = started(sender)
    for number in range(50):
        log.put(entry(number))
    log.close()
    assert sender.sent == [(b"p1", str(number)) for number in range(50)]
    assert sender.closed
    assert log.dropped == 0


def test_an_entry_of_nobody_has_no_key(sender: Any):
    log = started(sender)
    log.put(entry(1, person_id=""))
    log.close()
    assert sender.sent == [(None, "1")]


def test_a_stuck_kafka_costs_entries_and_no_time(sender: Any):
    sender.open.clear()
    log = started(sender, capacity=10)
    before = time.perf_counter()
    for number in range(5_000):
        log.put(entry(number))
    assert time.perf_counter() - before < 3  # the loop itself, not 5,000 waits
    assert log.dropped >= 5_000 - 10 - 1
    sender.open.set()
    log.close()
    assert len(sender.sent) + log.dropped == 5_000


@pytest.mark.parametrize("fault", ["fails", "refuses"])
def test_what_kafka_does_not_take_is_counted(sender: Any, fault: str):
    setattr(sender, fault, True)
    log = started(sender)
    log.put(entry(1))
    log.close()
    assert log.dropped == 1


def test_a_missing_kafka_is_waited_for_in_the_background(sender: Any):
    attempts = []

    def connect() -> Any:
        attempts.append(1)
        if len(attempts) < 3:
            raise Unavailable("kafka", "not there")
        return sender

    log = KafkaPredictionLog(connect, "predictions", 10)
    log.start()
    log.put(entry(1))
    deadline = time.monotonic() + 5
    while not sender.sent and time.monotonic() < deadline:
        time.sleep(0.01)
    log.close()
    assert sender.sent == [(b"p1", "1")]


def test_the_end_does_not_wait_for_a_kafka_that_never_came():
    def connect() -> Never:
        raise Unavailable("kafka", "not there")

    log = KafkaPredictionLog(connect, "predictions", 2)
    log.start()
    for number in range(5):
        log.put(entry(number))
    before = time.perf_counter()
    log.close()
    assert time.perf_counter() - before < 2
    assert log.dropped == 3
