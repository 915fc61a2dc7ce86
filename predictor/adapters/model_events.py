"""What wakes the reload: each process reads every message of `model.events`, from the end on, in a thread of its own.

The message is not looked into: the registry is the truth. What was said before it listens, or while Kafka was gone, it cannot
have heard: so it wakes once whenever it begins to listen, and the poll finds the rest.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from loguru import logger

from runtime.errors import Unavailable
from runtime.kafka import consumer, ensure_topics
from runtime.retry import pauses
from runtime.settings import Settings
from runtime.topics import Topics

_POLL_MS = 500  # the thread ends within this time


class ModelEventListener:
    """Calls `wake` on the event loop whenever something was said about models."""

    def __init__(self, settings: Settings, wake: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._wake = wake
        self._loop = loop
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="model-events", daemon=True)

    def start(self) -> None:
        """Start listening; a Kafka that is not there is waited for in the thread."""
        self._thread.start()

    def close(self, timeout_s: float = 2.0) -> None:
        """Stop listening, within `timeout_s`."""
        self._ending.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        waits = pauses()
        while not self._ending.is_set():
            try:
                with self._subscribed() as reader:
                    waits = pauses()
                    self._listen(reader)
            except (Unavailable, KafkaError) as error:
                logger.warning("model events are not heard, the registry is polled: {}", error)
                self._ending.wait(next(waits))

    @contextmanager
    def _subscribed(self) -> Iterator[KafkaConsumer]:
        """A consumer that stands at the end of the topic, in no group: every process hears everything."""
        topic = Topics(self._settings).model_events
        ensure_topics(self._settings, [topic])
        reader = consumer(self._settings, group_id=None, auto_offset_reset="latest")
        try:
            reader.assign(
                [TopicPartition(topic.name, number) for number in sorted(reader.partitions_for_topic(topic.name) or ())]
            )
            for partition in reader.assignment():
                reader.position(partition)
            yield reader
        finally:
            reader.close()

    def _listen(self, reader: KafkaConsumer) -> None:
        self._tell()
        while not self._ending.is_set():
            if reader.poll(timeout_ms=_POLL_MS):
                self._tell()

    def _tell(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            self._ending.set()  # the loop was closed before this thread ended
