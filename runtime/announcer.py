"""Announces model events on the topic `model.events`: the trainer its decisions, a predictor what it refuses to serve."""

from kafka.errors import KafkaError
from loguru import logger

from runtime.errors import Unavailable
from runtime.events import ModelEvent, encode
from runtime.kafka import ensure_topics, producer
from runtime.settings import Settings
from runtime.topics import Topics

_LIMIT_MS = 5_000  # the registry is the truth; an announcement must not hold it up


class KafkaAnnouncer:
    """Announces for the service `source`, where it can: a missing Kafka loses the announcement, never what it announces."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._settings = settings
        self._source = source
        self._topic = Topics(settings).model_events

    def announce(self, event: ModelEvent) -> bool:
        """Whether Kafka took the event; if not, it is logged, and readers see the change when they next look at the registry."""
        try:
            self._send(event)
        except (Unavailable, KafkaError) as error:
            logger.bind(event=event.type, model_version=event.model_version).warning("not announced on model.events: {}", error)
            return False
        return True

    def _send(self, event: ModelEvent) -> None:
        ensure_topics(self._settings, [self._topic])
        key, value, headers = encode(event, self._source)
        sender = producer(self._settings, max_block_ms=_LIMIT_MS, linger_ms=0)
        try:
            sender.send(self._topic.name, key=key, value=value, headers=headers).get(timeout=_LIMIT_MS / 1000)
        finally:
            sender.close(timeout=_LIMIT_MS / 1000)
