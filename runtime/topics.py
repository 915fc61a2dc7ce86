"""Which topics there are: names, partitions, retention. The single place that knows; `kafka.py` creates them from here."""

from dataclasses import dataclass, field
from datetime import timedelta

from runtime.settings import Settings

FOREVER = -1
RECORD_LIMIT_BYTES = 64 * 1024
_DEAD_LETTER_HEADROOM_BYTES = 64 * 1024  # a dead letter is its source's bytes and the headers that say why
# Replayed records carry the times of their events. A segment must not be rolled because those times are far apart.
_SEGMENT_MS = round(timedelta(days=3650).total_seconds() * 1000)
# Brokers refuse what is stamped more than an hour ahead of them. What the stream makes is stamped by the worker's clock, and a
# worker whose clock is wrong must not stop for it.
_ANY_CLOCK = {"message.timestamp.after.max.ms": str(2**63 - 1)}


@dataclass(frozen=True)
class Topic:
    """One topic as we create it; `retention` None keeps messages for ever."""

    name: str
    partitions: int
    retention: timedelta | None = None
    max_message_bytes: int = RECORD_LIMIT_BYTES * 4
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def configs(self) -> dict[str, str]:
        """The topic's settings in Kafka's own names."""
        kept_ms = FOREVER if self.retention is None else round(self.retention.total_seconds() * 1000)
        return {
            "retention.ms": str(kept_ms),
            "retention.bytes": str(FOREVER),
            "segment.ms": str(_SEGMENT_MS) if kept_ms == FOREVER else str(min(kept_ms, _SEGMENT_MS)),
            "cleanup.policy": "delete",
            "message.timestamp.type": "CreateTime",
            "max.message.bytes": str(self.max_message_bytes),
            **self.extra,
        }


def dead_letter_name(topic: str) -> str:
    """The dead-letter topic of `topic`."""
    return f"{topic}.dlq"


class Topics:
    """Every topic, named with the prefix of `settings`, and the consumer group of the stream workers."""

    def __init__(self, settings: Settings) -> None:
        prefix, people = settings.topic_prefix, settings.partitions
        self.streams_group = f"{prefix}streams"
        self.records = Topic(f"{prefix}person.records", people, max_message_bytes=RECORD_LIMIT_BYTES * 16)
        self.labels = Topic(f"{prefix}person.labels", people, max_message_bytes=RECORD_LIMIT_BYTES * 16)
        self.records_dlq = self._dead_letters(self.records)
        self.labels_dlq = self._dead_letters(self.labels)
        self.features = Topic(f"{prefix}person.features", people, timedelta(days=7), extra=_ANY_CLOCK)
        self.predictions = Topic(f"{prefix}predictions", people, timedelta(days=30))
        self.predictions_dlq = self._dead_letters(self.predictions)
        self.alerts = Topic(f"{prefix}drift.alerts", 1, timedelta(days=90))
        self.model_events = Topic(f"{prefix}model.events", 1, timedelta(days=90))

    @staticmethod
    def _dead_letters(source: Topic) -> Topic:
        limit = source.max_message_bytes + _DEAD_LETTER_HEADROOM_BYTES
        return Topic(dead_letter_name(source.name), 1, timedelta(days=90), limit, _ANY_CLOCK)

    def all(self) -> tuple[Topic, ...]:
        """All topics, for creation."""
        return tuple(value for value in vars(self).values() if isinstance(value, Topic))
