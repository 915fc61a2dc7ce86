"""Kafka as the handlers see it: what is published is acknowledged by all replicas when a call returns."""

import time
from collections.abc import Iterable, Iterator
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from runtime.errors import Unavailable
from runtime.kafka import REQUEST_TIMEOUT_MS, admin, consumer, producer
from runtime.settings import Settings
from runtime.topics import Topic, Topics, dead_letter_name
from streams.letters.dead_letters import DeadLetter
from streams.messages import Message, Shard
from streams.shelf import Outgoing

ACKNOWLEDGED_WITHIN_S = 30.0
# A feature row has about 1.5 KB; with the client's 16 KB a request would carry ten of them.
_BATCH_BYTES = 128 * 1024  # below every topic's limit of a batch
_BATCH_OVERHEAD_BYTES = 1024  # a batch's own header, with room to spare
_POLL_MS = 500
_LOOK_FOR_S = 15.0


class KafkaPublisher:
    """Publishes for the handlers; one producer, used by one thread at a time or by several."""

    def __init__(self, settings: Settings, topics: Topics) -> None:
        self._producer = producer(settings, batch_size=_BATCH_BYTES)
        self._features = topics.features.name
        self._labels = topics.labels.name
        letters = (topics.records_dlq, topics.labels_dlq, topics.predictions_dlq)
        self._dead_letters: dict[str, Topic] = {topic.name: topic for topic in letters}

    def dead_letters(self, topic: str, letters: Iterable[DeadLetter]) -> None:
        """Publish dead letters of the source `topic`. Raises `Unavailable`."""
        target = self._dead_letters[dead_letter_name(topic)]
        limit = target.max_message_bytes - _BATCH_OVERHEAD_BYTES
        cut = (letter.cut_to(limit) for letter in letters)
        self._send(target.name, ({"key": each.key, "value": each.value, "headers": list(each.headers)} for each in cut))

    def labels(self, labels: Iterable[Outgoing]) -> None:
        """Publish labels that came inside records. Raises `Unavailable`."""
        self._send(self._labels, map(vars, labels))

    def features(self, rows: Iterable[Outgoing]) -> None:
        """Publish feature rows. Raises `Unavailable`."""
        self._send(self._features, map(vars, rows))

    def close(self) -> None:
        """Close the connections."""
        self._producer.close(timeout=1)

    def _send(self, topic: str, messages: Iterable[dict[str, Any]]) -> None:
        try:
            sent = [self._producer.send(topic, **message) for message in messages]
            if sent:
                self._producer.flush(timeout=ACKNOWLEDGED_WITHIN_S)
            for future in sent:
                future.get(timeout=ACKNOWLEDGED_WITHIN_S)
        except KafkaError as error:
            raise Unavailable("kafka", f"{topic} was not acknowledged ({error!r})") from error


class KafkaLog:
    """Looks into the topics that are read."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has, whatever the setting says. Raises `Unavailable`."""
        reader = consumer(self._settings)
        try:
            found = reader.partitions_for_topic(topic)
        except KafkaError as error:
            raise Unavailable("kafka", f"{topic} could not be described ({error!r})") from error
        finally:
            reader.close()
        if not found:
            raise Unavailable("kafka", f"{topic} is not there yet")
        return len(found)

    def end(self, shard: Shard) -> int:
        """The offset that the next message will get. Raises `Unavailable`."""
        place = TopicPartition(shard.topic, shard.partition)
        reader = consumer(self._settings)
        try:
            return int(reader.end_offsets([place])[place])
        except KafkaError as error:
            raise Unavailable("kafka", f"the end of {shard} is unknown ({error!r})") from error
        finally:
            reader.close()

    def read(self, shard: Shard, first: int, end: int) -> Iterator[list[Message]]:
        """The messages from offset `first` up to, not with, `end`, in order, some at a time.

        Offsets may be missing: markers of transactions, or what retention has deleted. Raises `Unavailable`.
        """
        place = TopicPartition(shard.topic, shard.partition)
        reader = consumer(self._settings)
        deadline = time.monotonic() + _LOOK_FOR_S
        try:
            reader.assign([place])
            reader.seek(place, first)
            while reader.position(place) < end:
                polled = reader.poll(timeout_ms=_POLL_MS).get(place, [])
                found = [_message(shard, each) for each in polled if each.offset < end]
                if found and found[0].offset < first:
                    raise Unavailable("kafka", f"{shard} was made anew while it was read from {first}")
                if found:
                    yield found
                    deadline = time.monotonic() + _LOOK_FOR_S
                elif time.monotonic() > deadline:
                    raise Unavailable("kafka", f"{shard} could not be read from {first} to {end}")
        except KafkaError as error:
            raise Unavailable("kafka", f"{shard} could not be read from {first} to {end} ({error!r})") from error
        finally:
            reader.close()

    def acknowledged(self, shard: Shard) -> int | None:
        """The last offset that the workers have acknowledged; None without one. Raises `Unavailable`."""
        reader = consumer(self._settings, group_id=Topics(self._settings).streams_group)
        try:
            found = reader.committed(TopicPartition(shard.topic, shard.partition), timeout_ms=REQUEST_TIMEOUT_MS)
        except KafkaError as error:
            raise Unavailable("kafka", f"what is acknowledged of {shard} is unknown ({error!r})") from error
        finally:
            reader.close()
        return None if found is None else int(found) - 1

    def log_id(self, topic: str) -> str:
        """Kafka's own id of the topic: another one if it is deleted and made anew. Raises `Unavailable`."""
        client = admin(self._settings)
        try:
            (found,) = client.describe_topics([topic])
        except KafkaError as error:
            raise Unavailable("kafka", f"{topic} could not be described ({error!r})") from error
        finally:
            client.close()
        if not found["topic_id"]:
            raise Unavailable("kafka", f"{topic} is not there yet")
        return str(found["topic_id"])


def _message(shard: Shard, found: Any) -> Message:
    return Message(shard, found.offset, found.timestamp, found.key, found.value, tuple(found.headers))
