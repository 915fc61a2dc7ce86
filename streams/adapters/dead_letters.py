"""Kafka as `habitus dlq` sees it: the letters in a dead-letter topic, and the topic to which they are sent again."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError

from runtime.errors import Unavailable
from runtime.kafka import consumer, producer
from runtime.settings import Settings
from runtime.topics import dead_letter_name
from streams.letters.dead_letters import DeadLetterRead, Origin
from streams.messages import Message

ACKNOWLEDGED_WITHIN_S = 30.0
_POLL_MS = 500
_LOOK_FOR_S = 15.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Progress = Callable[[int, int], object]  # how many messages were looked at, of how many


def _in_silence(_done: int, _total: int) -> None:
    """Nobody is told."""


def read_dead_letters(settings: Settings, topic: str, progress: Progress = _in_silence) -> Generator[DeadLetterRead]:
    """Every dead letter of the source `topic` there is now, oldest first, a few in memory at a time.

    Whoever does not read to the end closes it: it holds a connection. Raises `Unavailable`.
    """
    place = TopicPartition(dead_letter_name(topic), 0)
    reader = consumer(settings)
    try:
        if not reader.partitions_for_topic(place.topic):
            return
        first, end = reader.beginning_offsets([place])[place], reader.end_offsets([place])[place]
        for each in _read(reader, place, first, end, progress):
            yield DeadLetterRead.of(each.offset, each.key, each.value, each.headers)
    except KafkaError as error:
        raise Unavailable("kafka", f"{place.topic} could not be read ({error!r})") from error
    finally:
        reader.close()


class SourceTopic:
    """The topic that letters came from: what was sent to it again, and where to send more. A context manager."""

    def __init__(self, settings: Settings, name: str, progress: Progress = _in_silence) -> None:
        self.name = name
        self._settings = settings
        self._progress = progress

    @cached_property
    def partitions(self) -> int:
        """How many partitions it has. Raises `Unavailable`."""
        found = self._producer.partitions_for(self.name)
        if not found:
            raise Unavailable("kafka", f"{self.name} is not there yet")
        return len(found)

    def sent_since(self, since: datetime) -> set[Origin]:
        """The origins of what was sent again at or after `since`, by the topic's index of times. Raises `Unavailable`."""
        reader = consumer(self._settings)
        places = [TopicPartition(self.name, number) for number in range(self.partitions)]
        try:
            ends = reader.end_offsets(places)
            since_ms = max((since - _EPOCH) // timedelta(milliseconds=1), 0)
            starts = reader.offsets_for_times(dict.fromkeys(places, since_ms))
            parts = [(place, starts[place].offset, ends[place]) for place in places if starts[place] is not None]
            return {origin for part in parts for origin in self._origins(reader, *part)}
        except KafkaError as error:
            raise Unavailable("kafka", f"{self.name} could not be searched ({error!r})") from error
        finally:
            reader.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish `messages` where they say; on return all are acknowledged. Raises `Unavailable`: some may have been sent."""
        try:
            sent = [self._producer.send(self.name, **_outgoing(each)) for each in messages]
            self._producer.flush(timeout=ACKNOWLEDGED_WITHIN_S)
            for future in sent:
                future.get(timeout=ACKNOWLEDGED_WITHIN_S)
        except KafkaError as error:
            raise Unavailable(
                "kafka", f"{self.name} did not acknowledge all; run it again: it sends the rest ({error!r})"
            ) from error

    def __enter__(self) -> Self:
        """Connect when needed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection, if there is one."""
        if "_producer" in vars(self):
            self._producer.close(timeout=1)

    @cached_property
    def _producer(self) -> KafkaProducer:
        return producer(self._settings)

    def _origins(self, reader: KafkaConsumer, place: TopicPartition, first: int, end: int) -> Iterator[Origin]:
        told = (Origin.told_by(each.headers) for each in _read(reader, place, first, end, self._progress))
        return (origin for origin in told if origin is not None)


def _read(reader: KafkaConsumer, place: TopicPartition, first: int, end: int, progress: Progress) -> Iterator[Any]:
    """The messages of one partition from `first` up to, not with, `end`."""
    reader.assign([place])
    reader.seek(place, first)
    deadline = time.monotonic() + _LOOK_FOR_S
    while (position := reader.position(place)) < end:
        progress(position - first, end - first)
        found = [each for each in reader.poll(timeout_ms=_POLL_MS).get(place, []) if each.offset < end]
        yield from found
        if found:
            deadline = time.monotonic() + _LOOK_FOR_S
        elif time.monotonic() > deadline:
            raise Unavailable("kafka", f"{place.topic}[{place.partition}] could not be read from {position} to {end}")
    progress(end - first, end - first)


def _outgoing(message: Message) -> dict[str, Any]:
    return {
        "partition": message.shard.partition,
        "key": message.key,
        "value": message.value,
        "headers": list(message.headers),
        "timestamp_ms": message.timestamp_ms,
    }
