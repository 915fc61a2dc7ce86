"""Redis loses what it was given, or takes no more, while a real worker writes to it: the end is that of an undisturbed run.

What protects: the watermark, which is read after the states and advanced only from where it was found, and the catch-up from
the history when it is not where it should be; an effect that fails for good ends the worker before anything is acknowledged.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from feature_repo.schemas import PERSON_FEATURES
from streams.settings import StreamsSettings
from tests.faults.proxy import Proxy, When, proxy_to
from tests.faults.redis_server import RedisServer, redis_server
from tests.scene import STARTS_WITHIN_S, Scene, require_nothing_lost, send_people, staged, wait_until

pytestmark = pytest.mark.timeout(180)

_URL = "redis://127.0.0.1:{}/0"
_ANYTHING = re.compile(b"")
_READS_STATES = re.compile(rb"HM?GET")
_WRITES_ROWS = re.compile(rb"EVALSHA(?!.*watermark:)", re.DOTALL)
_NOBODY = 1  # a port on which nobody listens
_NO_ROOM = 1  # byte: every write is refused
_TIMES = {number * number for number in range(2, 12)}  # at first often, then seldom: a step that is tried again gets through


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone."""
    with redis_server(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def proxy(redis: RedisServer) -> Iterator[Proxy]:
    """What the worker takes for its Redis."""
    with proxy_to(redis.port) as made:
        yield made


@pytest.fixture
def stage(kafka_bootstrap: str, proxy: Proxy, settings_for: Callable[..., StreamsSettings], tmp_path: Path) -> Iterator[Scene]:
    """Topics of this test and a Redis behind the proxy, no worker yet."""
    settings = settings_for(StreamsSettings, partitions=2, redis_url=_URL.format(proxy.port))
    with staged(settings, tmp_path / "worker.log") as made:
        yield made


def finish(stage: Scene, published: int) -> None:
    """Let the worker go on to the end; then all must be as if nothing had happened."""
    stage.drain(stage.topics.records.name, stage.topics.labels.name)
    require_nothing_lost(stage, published)


def await_rows(stage: Scene, number: int) -> None:
    """Wait until the history holds `number` rows."""
    wait_until(lambda: stage.rows(PERSON_FEATURES).num_rows >= number, STARTS_WITHIN_S, f"{number} rows")


@contextmanager
def lagging_replica(stage: Scene, redis: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """A replica that has 400 records, and hears no more of the worker that runs."""
    with proxy_to(redis.port) as link, redis_server(folder / "replica") as replica:
        replica.client.replicaof("127.0.0.1", link.port)
        send_people(stage, 400)
        stage.start(HABITUS_STREAMS_BATCH="100", HABITUS_STREAMS_ATTEMPTS="50")
        stage.drain(stage.topics.records.name)
        wait_until(lambda: replica.has_followed(redis), STARTS_WITHIN_S, "the replica has all")
        link.lead_to(_NOBODY)
        link.cut()
        yield replica


def worked_before(stage: Scene, start: int = 0) -> None:
    """400 more records are in history and online store, and the worker is no more."""
    send_people(stage, 400, start)
    stage.start()
    stage.drain(stage.topics.records.name)
    stage.kill()


def test_an_online_store_emptied_between_two_batches_is_filled_again(stage: Scene, redis: RedisServer) -> None:
    """Promise: also the rows of persons of whom nothing new comes are there again, and the features go on as they were."""
    send_people(stage, 400)
    stage.start()
    stage.drain(stage.topics.records.name)
    redis.client.flushall()
    send_people(stage, 20, start=400)
    finish(stage, published=420)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(b"EVALSHA", id="rows"),
        pytest.param(b"GET", id="read", marks=pytest.mark.soak),
        pytest.param(b"watermark", id="watermark", marks=pytest.mark.soak),
    ],
)
def test_an_online_store_emptied_in_the_middle_of_batches_is_filled_again(
    stage: Scene, redis: RedisServer, proxy: Proxy, moment: bytes
) -> None:
    """Promise: it may be emptied again and again, at whatever step of a batch: while states are read, rows or marks written."""
    seen = count(1)

    def empty_at_times(part: bytes) -> None:
        if moment in part and next(seen) in _TIMES:
            redis.client.flushall()

    proxy.before = empty_at_times
    send_people(stage, 1_500)
    stage.start(HABITUS_STREAMS_BATCH="150", HABITUS_STREAMS_ATTEMPTS="50")
    await_rows(stage, 1_000)
    proxy.before = lambda _: None
    send_people(stage, 20, start=1_500)
    assert next(seen) > min(_TIMES)
    finish(stage, published=1_520)


@pytest.mark.soak
def test_an_online_store_restored_from_an_older_snapshot_catches_up(stage: Scene, redis: RedisServer) -> None:
    send_people(stage, 400)
    stage.start(HABITUS_STREAMS_ATTEMPTS="50")
    stage.drain(stage.topics.records.name)
    snapshot = redis.snapshot()
    send_people(stage, 400, start=400)
    stage.drain(stage.topics.records.name)
    redis.restore(snapshot)
    send_people(stage, 20, start=800)
    finish(stage, published=820)


@pytest.mark.soak
def test_a_fail_over_to_a_lagging_replica_loses_nothing(stage: Scene, redis: RedisServer, proxy: Proxy, tmp_path: Path) -> None:
    """Promise: what the old primary had and the promoted replica never received is written again."""
    with lagging_replica(stage, redis, tmp_path) as replica:
        send_people(stage, 1_000, start=400)
        await_rows(stage, 800)
        redis.kill()
        replica.client.replicaof("no", "one")
        proxy.lead_to(replica.port)
        finish(stage, published=1_400)


def test_a_worker_goes_on_where_it_was_when_a_full_redis_has_room_again(stage: Scene, redis: RedisServer) -> None:
    """Promise: it tries again, ends unacknowledged if that is in vain, and another one finishes what was begun."""
    send_people(stage, 100)
    stage.start(HABITUS_STREAMS_ATTEMPTS="3")
    stage.drain(stage.topics.records.name)
    redis.client.config_set("maxmemory", _NO_ROOM)
    send_people(stage, 900, start=100)
    assert stage.await_end() == 1
    assert stage.unacknowledged(stage.topics.records.name) > 0
    stage.log = stage.log.with_name("second.log")
    stage.start(HABITUS_STREAMS_ATTEMPTS="50")
    stage.await_log("again in")
    redis.client.config_set("maxmemory", 0)
    finish(stage, published=1_000)


@pytest.mark.soak
def test_a_store_emptied_while_it_catches_up_from_nothing_catches_up_again(
    stage: Scene, redis: RedisServer, proxy: Proxy
) -> None:
    """Promise: a mark that was absent before and after does not hide that rows written in between are gone."""
    worked_before(stage)
    redis.client.flushall()
    proxy.before = emptied = When(redis.client.flushall, *[_WRITES_ROWS] * 5)
    stage.start(HABITUS_STREAMS_ATTEMPTS="50")
    assert emptied.done.wait(STARTS_WITHIN_S)
    send_people(stage, 20, start=400)
    finish(stage, published=420)


@pytest.mark.soak
def test_a_store_emptied_before_the_states_of_a_catch_up_are_read_gets_no_wrong_states(
    stage: Scene, redis: RedisServer, proxy: Proxy
) -> None:
    """Promise: states are those at the watermark; what is folded on others is never written, for it would stay."""
    worked_before(stage)
    snapshot = redis.snapshot()
    worked_before(stage, start=400)
    redis.restore(snapshot)
    proxy.before = emptied = When(redis.client.flushall, _READS_STATES)
    stage.start(HABITUS_STREAMS_ATTEMPTS="50")
    assert emptied.done.wait(STARTS_WITHIN_S)
    send_people(stage, 20, start=800)
    finish(stage, published=820)


def test_a_fail_over_between_the_rows_and_the_watermark_of_a_batch_loses_no_row(
    stage: Scene, redis: RedisServer, proxy: Proxy, tmp_path: Path
) -> None:
    """Promise: a replica whose watermark is what it was before the batch does not pass for one that has the batch's rows.

    The primary's last word is that the row is stored; then the connection ends, and the next one leads to the replica.
    """
    with lagging_replica(stage, redis, tmp_path) as replica:

        def fail_over() -> None:
            replica.client.replicaof("no", "one")
            proxy.lead_to(replica.port)
            proxy.answered = When(proxy.cut, _ANYTHING)

        proxy.before = failed_over = When(fail_over, _WRITES_ROWS)
        send_people(stage, 1, start=400)
        assert failed_over.done.wait(STARTS_WITHIN_S)
        finish(stage, published=401)
