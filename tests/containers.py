"""Kafka and Redis in containers, for those who have an engine: `HABITUS_TEST_CONTAINERS=1 make test`.

The tests are the same; only where the two servers come from differs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

KAFKA_IMAGE = "confluentinc/cp-kafka:8.1.0"  # Apache Kafka 4.1
REDIS_IMAGE = "redis:7.4-alpine"


def wanted() -> bool:
    """Whether this session was told to use containers."""
    return os.environ.get("HABITUS_TEST_CONTAINERS") == "1"


@contextmanager
def kafka() -> Iterator[str]:
    """host:port of a Kafka in a container."""
    from testcontainers.kafka import KafkaContainer  # noqa: PLC0415  only where it is wanted

    with KafkaContainer(KAFKA_IMAGE).with_kraft().with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false") as container:
        yield container.get_bootstrap_server()


@contextmanager
def redis() -> Iterator[str]:
    """URL of a Redis in a container."""
    from testcontainers.redis import RedisContainer  # noqa: PLC0415  as above

    with RedisContainer(REDIS_IMAGE) as container:
        yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}/0"
