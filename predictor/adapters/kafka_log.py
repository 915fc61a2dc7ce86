"""The prediction log to Kafka: never blocks and never fails a request.

Delivery is at most once, on purpose: entries wait in the client's bounded buffer while Kafka is slow or gone, and what does not
fit, or is not delivered in time, is dropped and counted. The client is librdkafka's: it sends from threads of its own for three
microseconds of processor an entry, where the Python client that the rest of the project uses takes 160 in the
interpreter that answers requests.
"""

import threading
from collections.abc import Callable
from typing import Any, Protocol

from confluent_kafka import KafkaException, Producer
from loguru import logger

from feature_repo.predictions import LoggedPrediction, encode_prediction
from runtime.errors import Unavailable
from runtime.kafka import LINGER_MS, ensure_topics, native_options
from runtime.retry import pauses
from runtime.settings import Settings
from runtime.topics import Topics

_DELIVERED_WITHIN_MS = 60_000
_BUFFER_KIB = 64 * 1024
_CLOSE_TIMEOUT_S = 1.5
_COMPLAINT_EVERY = 1_000  # drops from one log line to the next


class Sender(Protocol):
    """The part of librdkafka's producer that the log needs."""

    def produce(self, topic: str, *, key: bytes | None, value: bytes, on_delivery: Callable[[Any, Any], None]) -> None:
        """Take the message. Raises `BufferError` if there is no room, `KafkaException` if it is refused."""
        ...

    def poll(self, timeout: float) -> int:
        """Tell of what was delivered or given up meanwhile."""
        ...

    def flush(self, timeout: float) -> int:
        """Wait for what is not delivered, for `timeout` seconds at most; returns how many messages are left."""
        ...


class KafkaPredictionLog:
    """Prediction log entries of a topic, keyed by person. `make_topic` makes sure that it exists; it may raise `Unavailable`."""

    def __init__(self, sender: Sender, topic: str, make_topic: Callable[[], None]) -> None:
        self._sender = sender
        self._topic = topic
        self._make_topic = make_topic
        self._ending = threading.Event()
        self._dropped = 0

    def start(self) -> None:
        """Make the topic as soon as Kafka answers, in a thread: predictions do not wait for it."""
        threading.Thread(target=self._wait_for_topic, name="prediction-topic", daemon=True).start()

    @property
    def dropped(self) -> int:
        """How many entries were lost so far."""
        return self._dropped

    def put(self, entry: LoggedPrediction) -> None:
        """Take the entry, or drop and count it; never blocks, never raises."""
        key = entry["person_id"].encode() or None
        try:
            self._sender.produce(self._topic, key=key, value=encode_prediction(entry), on_delivery=self._told)
        except BufferError:
            self._drop("the buffer is full")
        except KafkaException as error:
            self._drop(str(error))
        self._sender.poll(0)

    def close(self) -> None:
        """Send what waits, for _CLOSE_TIMEOUT_S at most; the rest is lost."""
        self._ending.set()
        self._dropped += self._sender.flush(_CLOSE_TIMEOUT_S)
        if self._dropped:
            logger.bind(dropped=self._dropped).warning("prediction log: entries were dropped")

    def _wait_for_topic(self) -> None:
        for pause_s in pauses():
            try:
                return self._make_topic()
            except Unavailable as error:
                logger.bind(pause_s=pause_s).warning("the prediction log waits, predictions go on: {}", error)
            if self._ending.wait(pause_s):
                return None
        return None

    def _told(self, error: Any, _message: Any) -> None:
        if error is not None:
            self._drop(str(error))

    def _drop(self, why: str) -> None:
        self._dropped += 1
        if self._dropped % _COMPLAINT_EVERY == 1:
            logger.bind(dropped=self._dropped).warning("prediction log: an entry was dropped: {}", why)


def prediction_log(settings: Settings, capacity: int) -> KafkaPredictionLog:
    """The log to topic `predictions` of `settings`, which keeps `capacity` entries while Kafka is slow or away."""
    topic = Topics(settings).predictions
    options = native_options(settings) | {
        "acks": "all",
        "linger.ms": LINGER_MS,
        "message.timeout.ms": _DELIVERED_WITHIN_MS,
        "queue.buffering.max.messages": capacity,
        "queue.buffering.max.kbytes": _BUFFER_KIB,
        "partitioner": "murmur2_random",  # as Kafka's own clients; without a key, at random
    }
    return KafkaPredictionLog(Producer(options), topic.name, lambda: ensure_topics(settings, [topic]))
