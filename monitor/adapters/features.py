"""`person.features` as the monitor reads it, and the committed offsets as its memory."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka.errors import CommitFailedError, KafkaError
from kafka.structs import OffsetAndMetadata
from loguru import logger

from monitor.handlers import Received
from monitor.progress import Progress
from monitor.rows import parse_row
from monitor.settings import MonitorSettings
from runtime.errors import RecordRejected, Unavailable
from runtime.kafka import consumer
from runtime.retry import wait_for
from runtime.topics import Topics

POLL_MS = 500  # a stop is noticed within this time
_ROWS_AT_ONCE = 1_000
_CLOSE_MS = 2_000
_ANY_EPOCH = -1


class Batch(NamedTuple):
    """What a poll gave; `resumed` is what was committed if partitions were just assigned, else None."""

    rows: tuple[Received, ...]
    resumed: Progress | None


class FeatureFeed:
    """The rows of `person.features`, as a member of the monitor's consumer group. Raises `Unavailable` without Kafka."""

    def __init__(self, settings: MonitorSettings) -> None:
        self.topic = Topics(settings).features.name
        self._assignment = _Assignment()
        self._consumer = consumer(settings, group_id=settings.monitor_group, max_poll_records=_ROWS_AT_ONCE)
        self._consumer.subscribe([self.topic], listener=self._assignment)

    def poll(self) -> Batch:
        """The next rows, waiting up to POLL_MS for them. A message that is no row is logged and left out."""
        polled = self._consumer.poll(timeout_ms=POLL_MS)
        if self._assignment.changed:
            # What came with the assignment is read again, from where the window begins.
            return Batch((), wait_for(self._rewind))
        messages = (message for partition in polled.values() for message in partition)
        return Batch(tuple(self._rows(messages)), None)

    def commit(self, positions: Mapping[int, int], progress: Progress) -> None:
        """Store the next offset of each partition, and `progress`, in one step; waits for Kafka."""
        metadata = progress.encode()
        offsets = {
            TopicPartition(self.topic, partition): OffsetAndMetadata(offset, metadata, _ANY_EPOCH)
            for partition, offset in positions.items()
        }
        wait_for(lambda: self._commit(offsets))

    def close(self) -> None:
        """Leave the group; nothing is committed."""
        self._consumer.close(autocommit=False, timeout_ms=_CLOSE_MS)

    def _rows(self, messages: Iterable[Any]) -> Iterable[Received]:
        for message in messages:
            try:
                yield Received(parse_row(message.value or b""), message.partition, message.offset)
            except RecordRejected as error:
                logger.error("{}[{}]@{} is no feature row: {}", message.topic, message.partition, message.offset, error)

    def _commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        try:
            self._consumer.commit(offsets)
        except CommitFailedError as error:
            logger.warning("the partitions of {} went to another member; begin again where it left off: {}", self.topic, error)
            self._assignment.changed = True
        except KafkaError as error:
            raise Unavailable("kafka", f"offsets of {self.topic} could not be committed ({error})") from error

    def _rewind(self) -> Progress:
        """Go to the committed offsets of the partitions that are ours; returns the progress stored with them."""
        stored: list[Progress] = []
        try:
            for partition in self._consumer.assignment():
                committed = self._consumer.committed(partition, metadata=True)
                if committed is None:
                    self._consumer.seek_to_beginning(partition)
                else:
                    self._consumer.seek(partition, committed.offset)
                    stored.append(Progress.decode(committed.metadata))
        except KafkaError as error:
            raise Unavailable("kafka", f"the committed offsets of {self.topic} are unknown ({error})") from error
        self._assignment.changed = False
        return Progress.joined(stored)


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]
    """Remembers that partitions were assigned since we last looked."""

    changed = False

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        pass

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:  # noqa: ARG002
        self.changed = True
