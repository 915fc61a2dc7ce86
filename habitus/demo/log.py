"""What the topics hold, as the demo checks it: counts, dead letters, alerts and model events."""

from collections.abc import Iterator

from kafka import TopicPartition
from kafka.errors import KafkaError

from runtime.errors import Unavailable
from runtime.events import EventT, decode
from runtime.kafka import consumer
from runtime.settings import Settings
from runtime.topics import Topic
from streams.adapters.dead_letters import read_dead_letters

_POLL_MS = 500


def published(settings: Settings, topic: Topic) -> int:
    """How many messages were ever published to `topic`, which is kept for ever. Raises `Unavailable`."""
    reader = consumer(settings)
    try:
        return sum(reader.end_offsets([TopicPartition(topic.name, number) for number in range(topic.partitions)]).values())
    except KafkaError as error:
        raise Unavailable("kafka", f"{topic.name} could not be counted ({error!r})") from error
    finally:
        reader.close()


def dead_offsets(settings: Settings, topic: str) -> set[tuple[int, int]]:
    """Partition and offset of each message of `topic` that is in its dead letters. Raises `Unavailable`."""
    return {(letter.source.partition, letter.source_offset) for letter in read_dead_letters(settings, topic)}


def events(settings: Settings, topic: Topic, kind: type[EventT]) -> list[EventT]:
    """Every event on `topic` (of one partition) so far, oldest first. Raises `Unavailable`."""
    return list(_read(settings, topic, kind))


def _read(settings: Settings, topic: Topic, kind: type[EventT]) -> Iterator[EventT]:
    place = TopicPartition(topic.name, 0)
    reader = consumer(settings)
    try:
        reader.assign([place])
        reader.seek_to_beginning(place)
        end = reader.end_offsets([place])[place]
        while reader.position(place) < end:
            for message in reader.poll(timeout_ms=_POLL_MS).get(place, []):
                yield decode(kind, message.value)
    except KafkaError as error:
        raise Unavailable("kafka", f"{topic.name} could not be read ({error!r})") from error
    finally:
        reader.close()
