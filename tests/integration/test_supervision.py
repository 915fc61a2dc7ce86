"""Real workers that hang, crash, are stopped, replaced or sent foreign bytes: they end or go on, and say why."""

import asyncio
import json
import signal
import socket
import struct
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from redis import Redis

from feature_repo.online.rows import OnlineWriter, connect
from runtime.errors import Unavailable
from runtime.kafka import lag, partition_for
from streams.adapters.group import ConsumerGroup
from streams.adapters.kafka import KafkaLog
from streams.adapters.redis import refuse_evicting_servers
from streams.messages import Shard
from streams.supervision.watchdog import Standing
from tests.batches import CODECS, compressed, packed
from tests.scene import BASE_MS, STARTS_WITHIN_S, STOPS_WITHIN_S, Scene, person, require_nothing_lost, send_people, wait_until

pytestmark = pytest.mark.timeout(120)
FAULT = "tests.supervision.launch"


def ends_with(scene: Scene, code: int, within_s: float = STARTS_WITHIN_S) -> None:
    assert scene.worker is not None
    assert scene.worker.wait(timeout=within_s) == code


def group_of(scene: Scene) -> str:
    return f"{scene.settings.topic_prefix}streams"


def send_raw(scene: Scene, batch: bytes, partition: int, topic: str | None = None) -> None:
    """Publish a record batch as it is."""

    async def send() -> None:
        async with AIOKafkaProducer(bootstrap_servers=scene.settings.kafka_bootstrap) as sender:
            builder = sender.create_batch()
            builder._buffer, builder._closed = bytearray(batch), True
            builder.close = lambda: None
            (count,) = struct.unpack_from(">i", batch, 57)
            builder.record_count = lambda: count
            await (await sender.send_batch(builder, topic or scene.topics.records.name, partition=partition))

    asyncio.run(send())


def people(numbers: range, headers: list[tuple[bytes, bytes | None]]) -> dict[int, list[Any]]:
    """Valid records by partition, as `packed` takes them."""
    found: dict[int, list[Any]] = {}
    for number in numbers:
        fields = person(number)
        key = fields["person_id"].encode()
        found.setdefault(partition_for(key, 2), []).append((key, json.dumps(fields).encode(), BASE_MS + number * 60_000, headers))
    return found


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def require_metrics(scene: Scene, port: int, accepted: int) -> None:
    """The worker serves them, and they tell what it did."""

    def scraped() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    topic = scene.topics.records.name
    wait_until(lambda: f'habitus_streams_lag_messages{{partition="0",topic="{topic}"}} 0.0' in scraped(), 10, "the lag")
    told = scraped()
    assert f'habitus_streams_accepted_total{{topic="{topic}"}} {accepted}.0' in told
    assert f'habitus_streams_dead_letters_total{{error_class="undecodable",topic="{topic}"}} 1.0' in told
    assert 'habitus_streams_stage_seconds_count{stage="history"}' in told
    assert 'habitus_build_info{service="streams"' in told


def test_headers_that_are_no_utf_8_and_every_codec_reach_the_history(scene: Scene) -> None:
    """Promise: no producer stops the stream by its codec or by a header; a bad record's headers are in its dead letter."""
    headers: list[tuple[bytes, bytes | None]] = [(b"\xff\xfename", b"1"), (b"plain", None)]
    count = 0
    for codec in CODECS:
        for partition, records in people(range(count, count + 20), headers).items():
            send_raw(scene, compressed(packed(records), codec), partition)
        count += 20
    send_raw(scene, packed([(b"bad", b"?", BASE_MS, headers)]), partition_for(b"bad", 2))
    port = free_port()
    scene.start(HABITUS_STREAMS_METRICS_PORT=str(port))
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_metrics(scene, port, accepted=count)
    require_nothing_lost(scene, published=count + 1, dead=1)
    (letter,) = scene.read(scene.topics.records_dlq.name)
    assert dict(letter.headers)["\\xff\\xfename"] == b"1"
    shard = Shard(scene.topics.records.name, partition_for(b"bad", 2))
    log = KafkaLog(scene.settings)
    messages = [each for some in log.read(shard, 0, log.end(shard)) for each in some]
    assert messages[-1].headers == (("\\xff\\xfename", b"1"), ("plain", None))


def test_workers_that_hang_end_to_be_started_again(scene: Scene) -> None:
    """Promise: a hung thread and a blocked event loop are both found, and the log names the place."""
    for fault in ("hang", "block"):
        scene.log = scene.log.with_name(f"{fault}.log")
        scene.start(FAULT, fault, HABITUS_STREAMS_STALL_S="6")
        scene.await_log("assigned: ")
    wait_until(lambda: "assigned: " in scene.log.read_text(), STARTS_WITHIN_S, "two owners")
    send_people(scene, 20)
    for worker, fault in zip(scene.started, ("hang", "block"), strict=True):
        assert worker.wait(timeout=STARTS_WITHIN_S) == 1
        told = scene.log.with_name(f"{fault}.log").read_text()
        assert f"{scene.topics.records.name}[" in told
        assert "]@0, " in told
        assert "has not moved for" in told
        assert "Thread 0x" in told
    assert lag(scene.settings, group_of(scene), scene.topics.records.name) == 20


def test_the_marker_after_a_transaction_is_no_message_that_waits(scene: Scene) -> None:
    """Promise: what nobody ever acknowledges is no stall."""
    topic, group = scene.topics.records.name, ConsumerGroup(scene.settings, group_of(scene))

    async def send_in_a_transaction() -> None:
        address = scene.settings.kafka_bootstrap
        sender = AIOKafkaProducer(bootstrap_servers=address, transactional_id=scene.settings.project)
        async with sender, sender.transaction():
            await sender.send(topic, b"?", b"p1", 0)

    asyncio.run(send_in_a_transaction())
    shard = Shard(topic, 0)
    assert group.standings([shard]) == {shard: Standing(0, 2)}
    assert (group.holds_message(shard, 0, 2), group.holds_message(shard, 1, 2)) == (True, False)
    group.close()


def test_a_worker_that_keeps_crashing_waits_longer_each_time_and_ends_at_once_when_asked(scene: Scene) -> None:
    """Promise: labels that a worker split off and published itself, again in each life, do not hide its crashes."""
    send_people(scene, 10)
    marker = scene.settings.home / "streams" / "worker-0.life"
    scene.start(FAULT, "crash", HABITUS_STREAMS_LONGEST_PAUSE_S="0.1")
    ends_with(scene, 1)
    assert int(marker.read_text()) == 1
    marker.write_text("000004\n")
    scene.start(HABITUS_STREAMS_LONGEST_PAUSE_S="60")
    scene.await_log("ended 4 times in a row before it had acknowledged anything; it waits for 8.0 s")
    assert scene.worker is not None
    scene.worker.send_signal(signal.SIGTERM)
    ends_with(scene, 0, within_s=1)
    scene.start(HABITUS_STREAMS_LONGEST_PAUSE_S="0.1")
    scene.drain(scene.topics.records.name)
    wait_until(lambda: int(marker.read_text()) == 0, STARTS_WITHIN_S, "the acknowledgement is remembered")


def test_a_stop_lets_the_batch_in_hand_finish_and_acknowledges_it(scene: Scene) -> None:
    """Promise: asked twice to stop in the middle of a batch, the worker acknowledges that batch, and ends in five seconds."""
    send_people(scene, 10)
    scene.start(FAULT, "dawdle")
    scene.await_log("the fault is reached")
    assert scene.worker is not None
    scene.worker.send_signal(signal.SIGTERM)
    scene.worker.send_signal(signal.SIGTERM)
    ends_with(scene, 0, STOPS_WITHIN_S)
    assert lag(scene.settings, group_of(scene), scene.topics.records.name) < 10


def test_a_stop_ends_a_retry_pause(scene: Scene) -> None:
    send_people(scene, 10)
    scene.start(FAULT, "refuse", HABITUS_STREAMS_ATTEMPTS="50")
    scene.await_log("again in 0.8 s")
    assert scene.worker is not None
    scene.worker.send_signal(signal.SIGTERM)
    ends_with(scene, 0, within_s=3)
    assert "is given up: the worker is to stop" in scene.log.read_text()
    assert lag(scene.settings, group_of(scene), scene.topics.records.name) == 10


@pytest.mark.soak
def test_a_stop_while_the_group_settles_ends_in_time(scene: Scene) -> None:
    send_people(scene, 500)
    scene.start()
    scene.await_log("handled")
    first = scene.worker
    scene.log = scene.log.with_name("second.log")
    scene.start()
    scene.await_log("worker starts")
    assert first is not None
    assert scene.worker is not None
    scene.worker.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGTERM)
    ends_with(scene, 0, STOPS_WITHIN_S)
    assert first.wait(timeout=STOPS_WITHIN_S) == 0


def assigned_to(log: Path) -> list[str]:
    """The assignments that a worker's log tells of."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [line.rpartition("assigned: ")[2] for line in lines if "assigned: " in line]


def test_a_name_keeps_partitions_over_a_restart_and_is_taken_by_one_worker_alone(scene: Scene) -> None:
    """Promise: static membership: a killed worker's partitions wait for it, and the other worker is not disturbed.

    Of two live workers of one name the first is fenced off: it ends, and says why.
    """
    others, own, thief = (scene.log.with_name(f"{name}.log") for name in ("b", "a", "thief"))
    scene.log = others
    scene.start(HABITUS_STREAMS_INSTANCE="b")
    scene.await_log("assigned: ")
    scene.log = own
    scene.start(HABITUS_STREAMS_INSTANCE="a")
    wait_until(lambda: (len(assigned_to(own)), len(assigned_to(others))) == (1, 2), STARTS_WITHIN_S, "both share")
    scene.kill()
    scene.start(HABITUS_STREAMS_INSTANCE="a", HABITUS_STREAMS_LONGEST_PAUSE_S="0")
    fenced = scene.worker
    wait_until(lambda: len(assigned_to(own)) == 2, STARTS_WITHIN_S, "the partitions are back")
    scene.log = thief
    scene.start(HABITUS_STREAMS_INSTANCE="a")
    assert fenced is not None
    assert fenced.wait(timeout=STARTS_WITHIN_S) == 1
    assert "another worker has joined as 'a': this one is fenced off" in own.read_text()
    assert len({*assigned_to(own), *assigned_to(thief)}) == 1
    assert len(assigned_to(others)) == 2
    send_people(scene, 100)
    scene.drain(scene.topics.records.name)
    assert [each.poll() for each in scene.started[-1:] + scene.started[:1]] == [None, None]


def test_a_server_that_evicts_is_refused_whenever_the_connection_is_new(scene: Scene) -> None:
    """Promise: after a failover to a server with another policy nothing is written to it."""
    writer = OnlineWriter(refuse_evicting_servers(connect(scene.settings)), scene.settings.project)
    assert writer.watermark("t", 0) is None
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            client.client_kill_filter(_type="normal", skipme=True)
            with pytest.raises(Unavailable, match="set it to noeviction"):
                writer.watermark("t", 0)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert writer.watermark("t", 0) is None
