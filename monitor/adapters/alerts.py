"""`drift.alerts` as the monitor writes it."""

from kafka.errors import KafkaError
from loguru import logger

from runtime.errors import Unavailable
from runtime.events import DriftAlert, encode
from runtime.kafka import REQUEST_TIMEOUT_MS, producer
from runtime.retry import wait_for
from runtime.settings import Settings
from runtime.topics import Topics

SOURCE = "monitor"
_CLOSE_S = 2


class AlertTopic:
    """Publishes alerts. Raises `Unavailable` without Kafka."""

    def __init__(self, settings: Settings) -> None:
        self.topic = Topics(settings).alerts.name
        self._producer = producer(settings)

    def send(self, alert: DriftAlert) -> None:
        """Publish `alert`; on return all replicas have it. Waits for Kafka."""
        wait_for(lambda: self._send(alert))
        logger.bind(model_version=alert.model_version, id=alert.id).warning("alert: {}", alert.summary)

    def close(self) -> None:
        """Let go of the connection."""
        self._producer.close(timeout=_CLOSE_S)

    def _send(self, alert: DriftAlert) -> None:
        key, value, headers = encode(alert, SOURCE)
        try:
            sent = self._producer.send(self.topic, key=key, value=value, headers=headers)
            sent.get(timeout=REQUEST_TIMEOUT_MS / 1_000)
        except KafkaError as error:
            raise Unavailable("kafka", f"{self.topic} did not take an alert ({error})") from error
