"""Whether a service does its work, as Kafka sees it: its consumer group has members, and they have their partitions.

Place in the flow: `habitus up` waits for it; `python -m runtime.liveness monitor` is the health check of the
containers whose service has no port of its own.
"""

import sys

from kafka.errors import KafkaError

from runtime.errors import Unavailable
from runtime.kafka import admin
from runtime.registry import Alias, Registry
from runtime.settings import Settings

_WATCHES_THE_CHAMPION = "monitor"


def is_consuming(settings: Settings, service: str) -> bool:
    """Whether the consumer group of `service` is stable; False also when Kafka does not answer."""
    group = f"{settings.topic_prefix}{service}"
    try:
        client = admin(settings)
    except Unavailable:
        return False
    try:
        return bool(client.describe_groups([group])[group]["group_state"] == "Stable")
    except KafkaError:
        return False
    finally:
        client.close()


def is_healthy(settings: Settings, service: str) -> bool:
    """Whether `service` consumes; before the first model the monitor has nothing to compare with, and rightly waits."""
    if is_consuming(settings, service):
        return True
    try:
        return service == _WATCHES_THE_CHAMPION and Registry(settings).by_alias(Alias.CHAMPION) is None
    except Unavailable:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_healthy(Settings(), sys.argv[1]) else 1)
