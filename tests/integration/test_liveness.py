"""What a health check promises."""

from collections.abc import Callable
from contextlib import closing

from habitus.demo.waiting import poll
from runtime.kafka import consumer, ensure_topics
from runtime.liveness import is_consuming, is_healthy
from runtime.settings import Settings
from runtime.topics import Topics


def test_a_service_lives_while_its_group_has_its_partitions(kafka_bootstrap: str, settings_for: Callable[..., Settings]):
    settings = settings_for(Settings)
    topic = Topics(settings).records
    ensure_topics(settings, [topic])
    assert not is_consuming(settings, "streams")
    with closing(consumer(settings, topic.name, group_id=f"{settings.topic_prefix}streams")) as member:

        def lives() -> bool:
            member.poll(timeout_ms=200)
            return is_consuming(settings, "streams")

        assert poll(lives, what="the group", deadline_s=30)
        assert is_healthy(settings, "streams")
    assert poll(lambda: not is_consuming(settings, "streams"), what="the group to be left", deadline_s=30)


def test_without_kafka_and_mlflow_nothing_is_healthy(settings_for: Callable[..., Settings]):
    assert not is_healthy(settings_for(Settings), "monitor")
