"""Kafka goes away, or gives a partition to another worker while the first still lives: the end is that of an undisturbed run.

What protects: nothing is acknowledged before all effects are done; a history file is created only if its name is free, so of
two owners of one end the second fails; rows and states online only move on. A worker that ends is started again, as
supervisord does it.
"""

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

import pytest

from feature_repo.schemas import PERSON_FEATURES
from runtime.errors import Unavailable
from runtime.kafka import REQUEST_TIMEOUT_MS
from streams.adapters.kafka import KafkaLog
from streams.app import SESSION_TIMEOUT_S
from streams.messages import Shard
from streams.settings import StreamsSettings
from tests.faults.kafka_server import KafkaServer, kafka_server
from tests.faults.proxy import When, proxy_to
from tests.scene import DRAINED_WITHIN_S, STARTS_WITHIN_S, Scene, require_nothing_lost, send_people, staged, wait_until

pytestmark = pytest.mark.timeout(240)

_LONGER_THAN_A_SESSION_S = SESSION_TIMEOUT_S + 3.0
_LONGER_THAN_A_REQUEST_S = 2 * REQUEST_TIMEOUT_MS / 1000


@pytest.fixture(scope="module")
def broker() -> Iterator[KafkaServer]:
    """A broker of this module alone."""
    with kafka_server() as server:
        yield server


@pytest.fixture
def stage(
    broker: KafkaServer,
    redis_url: str,
    settings_for: Callable[..., StreamsSettings],
    tmp_path: Path,
) -> Iterator[Scene]:
    """Topics of this test on that broker, no worker yet."""
    settings = settings_for(StreamsSettings, partitions=2, kafka_bootstrap=broker.bootstrap)
    with staged(settings, tmp_path / "worker.log") as made:
        yield made


def finish(stage: Scene, published: int) -> None:
    """Let it go on to the end, starting the worker again when it ends; then all must be as if nothing had happened."""
    topics = (stage.topics.records.name, stage.topics.labels.name)

    def drained() -> bool:
        assert stage.worker is not None
        if stage.worker.poll() is not None:
            stage.start()
        return not any(map(stage.unacknowledged, topics))

    wait_until(drained, DRAINED_WITHIN_S, f"{topics} drained")
    require_nothing_lost(stage, published)


def begin(stage: Scene, count: int) -> None:
    """Publish `count` records and start a worker; returns when it is in the midst of them."""
    send_people(stage, count)
    stage.start(HABITUS_STREAMS_BATCH="100")
    wait_until(lambda: stage.rows(PERSON_FEATURES).num_rows > 0, STARTS_WITHIN_S, "a first batch")
    assert stage.unacknowledged(stage.topics.records.name) > 0


def test_what_is_acknowledged_is_what_was_handled_and_is_asked_for_in_bounded_time(stage: Scene, broker: KafkaServer) -> None:
    begin(stage, 300)
    finish(stage, published=300)
    log, shards = KafkaLog(stage.settings), [Shard(stage.topics.records.name, number) for number in range(2)]
    assert [log.acknowledged(shard) for shard in shards] == [log.end(shard) - 1 for shard in shards]
    paused = Thread(target=broker.pause, args=(_LONGER_THAN_A_REQUEST_S,))
    paused.start()
    with pytest.raises(Unavailable):
        log.acknowledged(shards[0])
    paused.join()


@pytest.mark.soak
def test_a_broker_restarted_under_load_loses_and_doubles_nothing(stage: Scene, broker: KafkaServer) -> None:
    begin(stage, 3_000)
    broker.restart()
    send_people(stage, 100, start=3_000)
    finish(stage, published=3_100)


@pytest.mark.soak
def test_a_broker_paused_for_longer_than_a_session_loses_and_doubles_nothing(stage: Scene, broker: KafkaServer) -> None:
    begin(stage, 3_000)
    broker.pause(_LONGER_THAN_A_SESSION_S)
    send_people(stage, 100, start=3_000)
    finish(stage, published=3_100)


@pytest.mark.parametrize(
    ("steps", "held"),
    [
        pytest.param((rb"HM?GET", rb"GET.*watermark:"), False, id="before the history"),
        pytest.param((rb"EVALSHA",), True, id="before the rows", marks=pytest.mark.soak),
        pytest.param((rb"EVALSHA.*watermark:",), True, id="before the watermark", marks=pytest.mark.soak),
    ],
)
def test_a_worker_that_wakes_after_another_took_its_partitions_changes_nothing(
    stage: Scene, steps: tuple[bytes, ...], held: bool
) -> None:
    """Promise: it stalls in the middle of a batch, past its session; what it still does when it goes on has no effect.

    `held`: what it was about to say to Redis arrives when its successor is done; else it was told what is no longer true.
    """
    first, awake = [], Event()

    def stall() -> None:
        os.kill(first[0], signal.SIGSTOP)
        if held:
            awake.wait(DRAINED_WITHIN_S)

    redis = urlsplit(stage.settings.redis_url.get_secret_value())
    with proxy_to(redis.port or 0) as proxy:
        proxy.before = stalled = When(stall, *(re.compile(step, re.DOTALL) for step in steps))
        send_people(stage, 800)
        stage.start(HABITUS_REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0", HABITUS_STREAMS_BATCH="400")
        assert stage.worker is not None
        first.append(stage.worker.pid)
        assert stalled.began.wait(STARTS_WITHIN_S)
        slow, slow_log = stage.worker, stage.log
        stage.log = stage.log.with_name("second.log")
        stage.start(HABITUS_STREAMS_BATCH="150")
        stage.drain(stage.topics.records.name, stage.topics.labels.name)
        awake.set()
        slow.send_signal(signal.SIGCONT)
        wait_until(lambda: slow.poll() is not None or "ahead" in slow_log.read_text(), STARTS_WITHIN_S, "it notices")
        send_people(stage, 200, start=800)
        finish(stage, published=1_000)
