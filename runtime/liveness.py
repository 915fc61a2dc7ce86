"""`python -m runtime.liveness streams`: exits 0 while the service's consumer group has a member that Kafka believes alive.

Place in the flow: the health check of the containers whose service has no port of its own.
"""

import sys

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from runtime.kafka import client_options
from runtime.settings import Settings


def is_consuming(settings: Settings, service: str) -> bool:
    """Whether the consumer group of `service` has a member; False also when Kafka does not answer."""
    group = f"{settings.topic_prefix}{service}"
    try:
        admin = KafkaAdminClient(**client_options(settings))
        try:
            return bool(admin.describe_groups([group])[group]["members"])
        finally:
            admin.close()
    except KafkaError:
        return False


if __name__ == "__main__":
    sys.exit(0 if is_consuming(Settings(), sys.argv[1]) else 1)
