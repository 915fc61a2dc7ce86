"""The consumer group as the brokers know it: what it has acknowledged, and how far the logs reach."""

from collections.abc import Iterable
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from runtime.errors import Unavailable
from runtime.kafka import REQUEST_TIMEOUT_MS, admin, consumer
from runtime.settings import Settings
from streams.adapters.kafka import KafkaLog
from streams.messages import Shard
from streams.supervision.watchdog import Standing


class ConsumerGroup:
    """Asks for a group without being a member; for one thread. It keeps one connection as long as it answers."""

    def __init__(self, settings: Settings, group: str) -> None:
        self._settings = settings
        self._group = group
        self._reader: Any = None

    def standings(self, shards: Iterable[Shard]) -> dict[Shard, Standing]:
        """How the group stands with each shard. Raises `Unavailable`, also for no shards, if the brokers do not answer."""
        places = {TopicPartition(shard.topic, shard.partition): shard for shard in shards}
        try:
            if self._reader is None:
                self._reader = consumer(self._settings, group_id=self._group)
            return self._standings(self._reader, places)
        except KafkaError as error:
            self.close()
            raise Unavailable("kafka", f"the lag of {self._group} is unknown ({error!r})") from error

    def holds_message(self, shard: Shard, first: int, end: int) -> bool:
        """Whether a message lies from `first` up to, not with, `end`. Raises `Unavailable`."""
        return any(KafkaLog(self._settings).read(shard, first, end))

    def has_member(self, instance: str) -> bool:
        """Whether a member of the group goes by the static name `instance`; False where the brokers do not answer."""
        try:
            client = admin(self._settings)
        except Unavailable:
            return False
        try:
            members = client.describe_groups([self._group])[self._group]["members"]
        except KafkaError:
            return False
        finally:
            client.close()
        return any(each.get("group_instance_id") == instance for each in members)

    def close(self) -> None:
        """Close the connection; the next question opens another."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @staticmethod
    def _standings(reader: Any, places: dict[TopicPartition, Shard]) -> dict[Shard, Standing]:
        if not places:
            reader.topics()
            return {}
        ends = reader.end_offsets(list(places))
        done = {place: reader.committed(place, timeout_ms=REQUEST_TIMEOUT_MS) for place in places}
        starts = reader.beginning_offsets([place for place in places if done[place] is None])
        return {
            shard: Standing(starts[place] if done[place] is None else done[place], ends[place]) for place, shard in places.items()
        }
