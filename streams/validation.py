"""Which messages are accepted: bytes to records, labels and log entries, or the reason why not.

Place in the flow: the first step of every handler. Nothing here has an effect; whatever fails on a message rejects that message.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from loguru import logger

from feature_repo.labels import PersonLabel, parse_label
from feature_repo.materialise import Located
from feature_repo.person import MISROUTED, parse_record, resolve_time
from feature_repo.predictions import PredictionLogEntry, parse_prediction
from feature_repo.wire import PROTOBUF, UNDECODABLE, decode_value
from runtime.errors import HabitusError, RecordRejected, Violation
from runtime.kafka import partition_for
from streams.letters.dead_letters import Rejected
from streams.messages import EARLIEST_TIME, LATEST_TIME, Message

T = TypeVar("T")
CONTENT_TYPE = "content-type"
POISON = "poison"  # the class of messages on which the code itself failed
NOT_THE_RECORD = (HabitusError, MemoryError, OSError)  # whatever message is in hand when these come up, it is not their cause
_SCALARS = (str, int, float, bool)


@dataclass(frozen=True)
class Accepted(Generic[T]):
    """A message and what was read from it."""

    message: Message
    content: T


@dataclass(frozen=True)
class Sorted(Generic[T]):
    """The messages of a batch, accepted or rejected, each part in log order."""

    accepted: list[Accepted[T]]
    rejected: list[Rejected]


@dataclass(frozen=True)
class SeenRecord:
    """A valid record in its place, the label that came inside it (None without one), how many unknown fields it had."""

    located: Located
    level: object | None
    unknown_fields: int


def sort_out(messages: Iterable[Message], read: Callable[[Message], T]) -> Sorted[T]:
    """Each message accepted as what `read` makes of it, or rejected if `read` raises `RecordRejected`, or fails on it."""
    outcome: Sorted[T] = Sorted([], [])
    for message in messages:
        try:
            outcome.accepted.append(Accepted(message, read(message)))
        except RecordRejected as error:
            outcome.rejected.append(Rejected(message, error))
        except NOT_THE_RECORD:
            raise
        except Exception as error:  # noqa: BLE001  a fault nobody thought of costs the record that shows it, not the stream
            outcome.rejected.append(Rejected(message, poison(message, error)))
    return outcome


def read_record(message: Message, partitions: int) -> SeenRecord:
    """The person record in a message of a topic of `partitions`. Raises `RecordRejected`."""
    _require_time(message)
    parsed = parse_record(decode_value(message.value, message.header(CONTENT_TYPE)))
    require_route(message, parsed.record.person_id, partitions)
    record = resolve_time(parsed.record, message.time)
    located = Located(record, message.shard.topic, message.shard.partition, message.offset, message.time)
    return SeenRecord(located, _sendable(parsed.level), len(parsed.unknown_fields))


def read_label(message: Message, partitions: int) -> PersonLabel:
    """The label in a message. Raises `RecordRejected`."""
    _require_time(message)
    label = parse_label(_json_fields(message), message.time)
    require_route(message, label.person_id, partitions)
    return label


def read_prediction(message: Message) -> PredictionLogEntry:
    """The prediction log's entry in a message. Raises `RecordRejected`."""
    _require_time(message)
    return parse_prediction(_json_fields(message))


def require_route(message: Message, person_id: str, partitions: int) -> None:
    """Check that the message's key is the person and that it lies where every other record of the person lies.

    Raises `RecordRejected` of the class `misrouted`, with the remedy.
    """
    key = person_id.encode()
    if message.key != key:
        shown = "absent" if message.key is None else repr(message.key[:64])
        raise RecordRejected(
            MISROUTED,
            (Violation("key", f"is {shown}, but the person is {person_id!r}"),),
            remedy="send the message with the person_id, in UTF-8, as its key",
        )
    expected = partition_for(key, partitions)
    if message.shard.partition != expected:
        place = f"{message.shard.partition} of {partitions}, Kafka's default partitioner chooses {expected}"
        raise RecordRejected(
            MISROUTED,
            (Violation("partition", f"is {place}"),),
            remedy="name no partition, and set the producer's partitioner to murmur2 "
            "(librdkafka: partitioner=murmur2_random; Java, kafka-python and aiokafka: the default)",
        )


def poison(message: Message, error: Exception) -> RecordRejected:
    """Why `message` is rejected, on which the code failed with `error`."""
    logger.opt(exception=error).error("poison: {} made the code fail", message)
    return RecordRejected(
        POISON,
        (Violation("record", f"made the code fail ({type(error).__name__}: {error})"),),
        remedy="report it with this record; after an upgrade `habitus dlq replay --class poison` sends it again",
    )


def _json_fields(message: Message) -> dict[str, object]:
    content_type = message.header(CONTENT_TYPE) or ""
    if content_type.split(";")[0].strip().lower() == PROTOBUF:
        raise RecordRejected(UNDECODABLE, (Violation("value", "this topic takes JSON, not protobuf"),))
    return dict(decode_value(message.value))


def _require_time(message: Message) -> None:
    if not message.has_usable_time:
        bounds = f"{EARLIEST_TIME:%Y-%m-%d} to {LATEST_TIME:%Y-%m-%d}"
        raise RecordRejected(
            UNDECODABLE,
            (Violation("message timestamp", f"{message.timestamp_ms} ms is not in {bounds}"),),
            remedy="let the producer stamp its messages",
        )


def _sendable(level: object | None) -> object | None:
    """A level as it is sent to the label path: what is no scalar can only be rejected there, so its type's name will do."""
    return level if level is None or isinstance(level, _SCALARS) else type(level).__name__
