"""What Prometheus is told of a stream worker."""

from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from runtime.errors import InvalidSetting, RecordRejected, Unavailable, Violation
from runtime.metrics import new_registry, serve
from streams.handlers import Applied
from streams.letters.dead_letters import Rejected, dead_letter
from streams.messages import Message, Shard
from streams.metrics import Counted, Metrics
from streams.persistence import Attempt
from streams.supervision.watchdog import Standing

TOPIC = "person.records"
SHARD = Shard(TOPIC, 2)
PLACE = {"topic": TOPIC, "partition": "2"}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, now_s=lambda: 1_000.0)


def messages(*offsets: int) -> list[Message]:
    return [Message(SHARD, offset, 900_000 + offset, b"k", b"v") for offset in offsets]


def test_a_batch_is_counted_by_what_became_of_it(registry: CollectorRegistry, metrics: Metrics) -> None:
    applied = Applied(accepted=3, rejected=2, redelivered=1, labels=3, unknown_fields=4)
    metrics.handled(TOPIC, messages(5, 6, 7), applied, seconds=0.5)
    counted = {name: registry.get_sample_value(f"habitus_streams_{name}_total", {"topic": TOPIC}) for name in vars(applied)}
    assert {name: count or 0 for name, count in counted.items()} == vars(applied)
    assert registry.get_sample_value("habitus_streams_batch_messages_sum", {"topic": TOPIC}) == 3
    assert registry.get_sample_value("habitus_streams_applied_offset", PLACE) == 7


def test_every_count_of_a_batch_is_a_metric(registry: CollectorRegistry, metrics: Metrics) -> None:
    """Promise: whoever adds a count to what a batch reports is reminded to publish it."""
    assert set(vars(Applied())) <= set(metrics._counts)


def test_freshness_is_the_age_of_the_newest_message_and_grows(registry: CollectorRegistry) -> None:
    now_s = [1_000.0]
    metrics = Metrics(registry, now_s=lambda: now_s[0])
    metrics.handled(TOPIC, messages(9, 5), Applied(accepted=2), seconds=0.1)
    metrics.handled(TOPIC, messages(2), Applied(accepted=1), seconds=0.1)
    assert registry.get_sample_value("habitus_streams_freshness_seconds", {"topic": TOPIC}) == pytest.approx(1_000 - 900.009)
    now_s[0] += 60
    assert registry.get_sample_value("habitus_streams_freshness_seconds", {"topic": TOPIC}) == pytest.approx(1_060 - 900.009)


def test_a_batchs_time_is_its_effects_and_computing(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.tried(Attempt("writing history", 0.2, failed=False))
    metrics.tried(Attempt("writing online rows", 0.1, failed=True))
    metrics.handled(TOPIC, messages(1), Applied(accepted=1), seconds=1.0)
    seconds = {
        stage: registry.get_sample_value("habitus_streams_stage_seconds_sum", {"stage": stage})
        for stage in ("history", "online", "compute")
    }
    assert seconds == pytest.approx({"history": 0.2, "online": 0.1, "compute": 0.7})
    assert registry.get_sample_value("habitus_streams_retries_total", {"stage": "online"}) == 1


def test_what_is_owned_no_more_is_told_no_more(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.stands({SHARD: Standing(4, 9)})
    assert registry.get_sample_value("habitus_streams_lag_messages", PLACE) == 5
    assert registry.get_sample_value("habitus_streams_acknowledged_offset", PLACE) == 4
    metrics.stands({})
    assert registry.get_sample_value("habitus_streams_lag_messages", PLACE) is None


def test_dead_letters_are_counted_by_class_once_they_are_acknowledged(
    registry: CollectorRegistry, metrics: Metrics, world: Any
) -> None:
    error = RecordRejected("misrouted", (Violation("key", "is another's"),))
    letter = dead_letter(Rejected(messages(1)[0], error), "1.0", datetime.now(UTC))
    publisher = Counted(world.publisher, metrics)
    world.publisher.failures = 1
    with pytest.raises(Unavailable):
        publisher.dead_letters(TOPIC, [letter])
    publisher.dead_letters(TOPIC, [letter])
    counted = registry.get_sample_value("habitus_streams_dead_letters_total", {"topic": TOPIC, "error_class": "misrouted"})
    assert counted == 1
    publisher.labels([])
    publisher.features([])


def test_a_port_that_is_taken_is_an_error_that_names_the_setting() -> None:
    registry = new_registry("streams", "1.2.3")
    assert registry.get_sample_value("habitus_build_info", {"service": "streams", "version": "1.2.3"}) == 1
    serve(registry, "127.0.0.1", 0, "X")
    with pytest.raises(InvalidSetting) as refused:
        serve(registry, "192.0.2.1", 9, "HABITUS_STREAMS_METRICS_PORT")
    assert "HABITUS_STREAMS_METRICS_PORT" in refused.value.remedy
