"""Drift alerts from the topic `drift.alerts`, acknowledged one by one after they were handled."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import OffsetAndMetadata
from loguru import logger

from runtime.errors import RecordRejected, Unavailable
from runtime.events import DriftAlert, decode
from runtime.kafka import consumer, ensure_topics
from runtime.topics import Topics
from trainer.settings import TrainerSettings

_POLL_MS = 500
_CLOSE_MS = 2_000
# Beyond waiting for labels: the time that one retraining may take before Kafka gives the alert to another trainer.
_LONGEST_TRAINING = timedelta(minutes=30)


class AlertStream:
    """The alerts of one consumer group, in order."""

    def __init__(self, settings: TrainerSettings, reader: KafkaConsumer) -> None:
        self._place = settings.kafka_bootstrap
        self._reader = reader

    def __iter__(self) -> Iterator[DriftAlert]:
        """Every alert, without end. The next one is asked for when the last is handled: then that one is acknowledged.

        What is no alert is logged and passed over. Raises `Unavailable` if Kafka fails; then the last alert comes again.
        """
        try:
            while True:
                for partition, messages in self._reader.poll(timeout_ms=_POLL_MS, max_records=1).items():
                    for message in messages:
                        yield from _alert_in(message.value, f"{partition.topic}[{partition.partition}]@{message.offset}")
                        self._acknowledge(partition, message.offset)
        except KafkaError as error:
            raise Unavailable("kafka", f"{self._place} failed while alerts were read ({error})") from error

    def _acknowledge(self, partition: TopicPartition, offset: int) -> None:
        self._reader.commit({partition: OffsetAndMetadata(offset + 1, "", -1)})


@contextmanager
def open_alerts(settings: TrainerSettings) -> Iterator[AlertStream]:
    """The alerts that no trainer of our group has handled. Raises `Unavailable` if Kafka does not answer."""
    topic = Topics(settings).alerts
    ensure_topics(settings, [topic])
    busy = timedelta(seconds=settings.trainer_label_deadline_s) + _LONGEST_TRAINING
    reader = consumer(
        settings,
        topic.name,
        group_id=f"{settings.topic_prefix}trainer",
        max_poll_interval_ms=busy // timedelta(milliseconds=1),
        session_timeout_ms=10_000,
        heartbeat_interval_ms=3_000,
    )
    try:
        yield AlertStream(settings, reader)
    finally:
        reader.close(autocommit=False, timeout_ms=_CLOSE_MS)


def _alert_in(value: bytes, place: str) -> Iterator[DriftAlert]:
    try:
        yield decode(DriftAlert, value)
    except RecordRejected as error:
        logger.bind(place=place).error("passed over what is no drift alert: {}", error)
