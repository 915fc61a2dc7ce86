"""The servers that the other tests stand on are real and answer."""

from collections.abc import Callable

from redis import Redis

from runtime.kafka import ensure_topics, lag, producer
from runtime.registry import Registry
from runtime.settings import Settings
from runtime.topics import Topics


def test_kafka_takes_our_topics_and_tells_the_lag(kafka_bootstrap: str, settings_for: Callable[..., Settings]) -> None:
    settings = settings_for(Settings)
    topics = Topics(settings)
    ensure_topics(settings, topics.all())
    with producer(settings) as sender:
        sender.send(topics.records.name, key=b"p", value=b"{}").get(timeout=10)
    assert lag(settings, f"{settings.topic_prefix}streams", topics.records.name) == 1


def test_redis_never_evicts(redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_mlflow_answers_about_models_that_are_not_there(mlflow_uri: str, settings_for: Callable[..., Settings]) -> None:
    assert Registry(settings_for(Settings), "no-such-model").versions() == []
