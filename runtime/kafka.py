"""How to reach Kafka: client options from settings, the admin that creates topics, the partitioner, lag.

Place in the flow: adapters of every service use it; nobody else creates topics (never Faust, never the broker).
"""

import logging
from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.consumer import fetcher
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.partitioner.default import murmur2

from runtime.errors import Unavailable
from runtime.kafka_security import Masked, client_context
from runtime.record_batches import tolerate
from runtime.refusals import kafka_access
from runtime.settings import Settings
from runtime.topics import RECORD_LIMIT_BYTES, Topic

REQUEST_TIMEOUT_MS = 15_000
_BOOTSTRAP_TIMEOUT_MS = 5_000  # then a Kafka that is not there is said to be so; kafka-python waits 30 s
LINGER_MS = 20  # about 10,000 acknowledged records a second from one producer, at 20 ms more latency
_MAX_REQUEST_BYTES = RECORD_LIMIT_BYTES * 20


_native_log = logging.getLogger("librdkafka")


def client_options(settings: Settings) -> dict[str, Any]:
    """Connection options that kafka-python's clients and aiokafka's take alike. They hold the password: never log them."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.kafka_bootstrap.split(","),
        "security_protocol": settings.kafka_security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        assert settings.kafka_sasl_password is not None  # the settings see to it
        options |= {
            "sasl_mechanism": settings.kafka_sasl_mechanism,
            "sasl_plain_username": settings.kafka_sasl_username,
            "sasl_plain_password": Masked(settings.kafka_sasl_password.get_secret_value()),
        }
    if settings.kafka_security_protocol.endswith("SSL"):
        options["ssl_context"] = client_context(
            settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile, settings.kafka_ssl_key_password
        )
    return options


def native_options(settings: Settings) -> dict[str, Any]:
    """The same for librdkafka's clients, which log to ours. They hold the password: never log them."""
    options: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap,
        "security.protocol": settings.kafka_security_protocol,
        "logger": _native_log,
    }
    if settings.kafka_security_protocol.startswith("SASL"):
        assert settings.kafka_sasl_password is not None  # the settings see to it
        options |= {
            "sasl.mechanism": settings.kafka_sasl_mechanism,
            "sasl.username": settings.kafka_sasl_username,
            "sasl.password": settings.kafka_sasl_password.get_secret_value(),
        }
    files = {
        "ssl.ca.location": settings.kafka_ssl_cafile,
        "ssl.certificate.location": settings.kafka_ssl_certfile,
        "ssl.key.location": settings.kafka_ssl_keyfile,
    }
    options |= {name: str(file) for name, file in files.items() if file is not None}
    if settings.kafka_ssl_key_password is not None:
        options["ssl.key.password"] = settings.kafka_ssl_key_password.get_secret_value()
    return options


def partition_for(key: bytes, partitions: int) -> int:
    """The partition that Kafka's default partitioner (murmur2 of the key) chooses among `partitions`."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


def admin(settings: Settings) -> KafkaAdminClient:
    """An admin client, to be closed by who asked for it. Raises `Unavailable` if Kafka does not answer."""
    with kafka_access(settings):
        return KafkaAdminClient(**client_options(settings), bootstrap_timeout_ms=_BOOTSTRAP_TIMEOUT_MS)


def ensure_topics(settings: Settings, topics: Iterable[Topic]) -> None:
    """Create what is missing; leaves existing topics as they are. Raises `Unavailable` if Kafka does not answer."""
    client = admin(settings)
    try:
        existing = set(client.list_topics())
        missing = [
            NewTopic(topic.name, topic.partitions, settings.replication_factor, topic_configs=topic.configs)
            for topic in topics
            if topic.name not in existing
        ]
        if missing:
            client.create_topics(missing)
    except TopicAlreadyExistsError:
        pass  # another process made it between our look and our call
    except KafkaError as error:
        raise Unavailable("kafka", f"topics could not be created ({error})") from error
    finally:
        client.close()


def producer(settings: Settings, **overrides: Any) -> KafkaProducer:
    """A producer that waits for all replicas and never duplicates by retrying. Raises `Unavailable`."""
    options = client_options(settings) | {
        "acks": "all",
        "enable_idempotence": True,
        "linger_ms": LINGER_MS,
        "max_request_size": _MAX_REQUEST_BYTES,
        "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS,
    }
    with kafka_access(settings):
        return KafkaProducer(**(options | overrides))


def consumer(settings: Settings, *topics: str, **overrides: Any) -> KafkaConsumer:
    """A consumer of `topics`, reading from the earliest offset by default, committing nothing by itself.

    It reads every codec and every header (`record_batches`). Raises `Unavailable` if Kafka does not answer.
    """
    tolerate(fetcher)
    options = client_options(settings) | {
        "auto_offset_reset": "earliest",
        "enable_auto_commit": False,
        "bootstrap_timeout_ms": _BOOTSTRAP_TIMEOUT_MS,
    }
    with kafka_access(settings):
        return KafkaConsumer(*topics, **(options | overrides))


def lag(settings: Settings, group: str, topic: str) -> int:
    """How many messages of `topic` the consumer group `group` has not acknowledged. Raises `Unavailable`."""
    reader = consumer(settings, group_id=group)
    try:
        partitions = [TopicPartition(topic, number) for number in sorted(reader.partitions_for_topic(topic) or ())]
        ends = reader.end_offsets(partitions)
        starts = reader.beginning_offsets(partitions)
        done = {partition: reader.committed(partition, timeout_ms=REQUEST_TIMEOUT_MS) for partition in partitions}
    except KafkaError as error:
        raise Unavailable("kafka", f"the lag of {group} on {topic} is unknown ({error})") from error
    finally:
        reader.close()
    return sum(ends[p] - (starts[p] if done[p] is None else done[p]) for p in partitions)
