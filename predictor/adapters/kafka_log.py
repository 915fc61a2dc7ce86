"""The prediction log to Kafka: entries wait in a bounded buffer and a thread sends them. It never blocks or fails a request.

Delivery is at most once, on purpose: while Kafka is slow or gone the buffer fills, and what does not fit is dropped and counted.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from kafka.errors import KafkaError
from loguru import logger

from feature_repo.predictions import PredictionLogEntry
from runtime.errors import Unavailable
from runtime.kafka import ensure_topics, producer
from runtime.retry import pauses
from runtime.settings import Settings
from runtime.topics import Topics

_SEND_BLOCK_MS = 2_000  # longest wait of one send for metadata or room in the producer
_CLOSE_TIMEOUT_S = 1.5
_COMPLAINT_EVERY = 1_000  # drops from one log line to the next
_END = None


class Sender(Protocol):
    """The part of Kafka's producer that the log needs."""

    def send(self, topic: str, *, key: bytes | None, value: bytes) -> Any:
        """Take the message; returns a future."""
        ...

    def close(self, timeout: float) -> None:
        """Send what is taken, for `timeout` seconds at most."""
        ...


class KafkaPredictionLog:
    """Prediction log entries of a topic, keyed by person."""

    def __init__(self, connect: Callable[[], Sender], topic: str, capacity: int) -> None:
        self._connect = connect
        self._topic = topic
        self._waiting: queue.Queue[PredictionLogEntry | None] = queue.Queue(capacity)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many entries were lost so far."""
        return self._dropped

    def start(self) -> None:
        """Start sending; a Kafka that is not there is waited for in the thread."""
        self._thread.start()

    def put(self, entry: PredictionLogEntry) -> None:
        """Take the entry, or drop and count it; never blocks, never raises."""
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self._drop("the buffer is full")

    def close(self, timeout_s: float = 2.0) -> None:
        """Send what waits, for `timeout_s` at most; the rest is lost."""
        self._ending.set()
        with suppress(queue.Full):  # if full, the thread sees the event after the entry that it is at
            self._waiting.put_nowait(_END)
        self._thread.join(timeout_s)
        if self._dropped:
            logger.bind(dropped=self._dropped).warning("prediction log: entries were dropped")

    def _run(self) -> None:
        sender = self._connected()
        if sender is None:
            return
        while (entry := self._waiting.get()) is not _END:
            self._send(sender, entry)
            if self._ending.is_set() and self._waiting.empty():
                break
        sender.close(timeout=_CLOSE_TIMEOUT_S)

    def _connected(self) -> Sender | None:
        for pause_s in pauses():
            try:
                return self._connect()
            except Unavailable as error:
                logger.bind(pause_s=pause_s).warning("the prediction log waits, predictions go on: {}", error)
            if self._ending.wait(pause_s):
                return None
        raise AssertionError("pauses() is endless")

    def _send(self, sender: Sender, entry: PredictionLogEntry) -> None:
        key = entry.person_id.encode() or None
        try:
            future = sender.send(self._topic, key=key, value=entry.encode())
        except KafkaError as error:
            self._drop(str(error))
            return
        future.add_errback(lambda error: self._drop(str(error)))

    def _drop(self, why: str) -> None:
        self._dropped += 1
        if self._dropped % _COMPLAINT_EVERY == 1:
            logger.bind(dropped=self._dropped).warning("prediction log: an entry was dropped: {}", why)


def prediction_log(settings: Settings, capacity: int) -> KafkaPredictionLog:
    """The log to topic `predictions` of `settings`, which is created when Kafka is first reached."""
    topic = Topics(settings).predictions

    def connect() -> Sender:
        ensure_topics(settings, [topic])
        sender: Sender = producer(settings, max_block_ms=_SEND_BLOCK_MS)
        return sender

    return KafkaPredictionLog(connect, topic.name, capacity)
