"""Two workers, killed at random under load for minutes: every record is accounted for, once, and everything agrees."""

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from random import Random

import pytest

from runtime.kafka import lag
from tests.aborts.end_state import differences, found, undisturbed
from tests.aborts.lives import send
from tests.aborts.records import MOSTLY_GOOD, random_messages
from tests.scene import Scene
from tests.soak.options import option
from tests.soak.telling import Tell

RECORDS = option("SOAK_RECORDS", 500_000)
PERSONS = option("SOAK_PERSONS", 20_000)
KILLS_FOR_S = option("SOAK_KILLS_FOR_S", 180)
SEED = option("SOAK_SEED", 1)
LIVES_S = (2.0, 20.0)  # of a worker, from and to: some are killed while they start, some in the midst of work
LOOK_EVERY_S = 5.0
SLOWEST_PER_S = 100  # records; slower than that, nothing moves


@pytest.mark.timeout(KILLS_FOR_S + RECORDS // SLOWEST_PER_S * 2 + 600)
def test_two_workers_killed_at_random_under_load_lose_and_double_nothing(scene: Scene, tell: Tell) -> None:
    """Promise: accepted + dead (distinct) = published; online = history = recomputed; person.features complete."""
    started = time.monotonic()
    with sending(scene, tell):
        kills = kill_at_random(scene, tell)
    go_on(scene, tell)
    tell(f"handled {RECORDS} records in {time.monotonic() - started:.0f} s with {kills} kills; comparing")
    expected, left = undisturbed(scene.settings), found(scene.settings)
    assert differences(expected, left) == []
    assert len(left.rows) + len(left.dead) == RECORDS
    tell(f"{len(left.rows)} accepted + {len(left.dead)} dead = {RECORDS}; {len(left.online)} persons; {len(left.labels)} labels")


@contextmanager
def sending(scene: Scene, tell: Tell) -> Iterator[None]:
    """Meanwhile all records are published; on leaving they are."""
    messages = random_messages(SEED, RECORDS, persons=PERSONS, mix=MOSTLY_GOOD)
    thread = threading.Thread(target=send, args=(scene, messages))
    thread.start()
    try:
        yield
    finally:
        thread.join()
        tell(f"published {RECORDS} records of {PERSONS} persons")


def kill_at_random(scene: Scene, tell: Tell) -> int:
    """Two workers for KILLS_FOR_S; whenever one's time is up it is killed and another starts. Returns how many were killed."""
    random = Random(SEED)  # noqa: S311  no secret
    workers = {name: start(scene, name, random) for name in ("one", "two")}
    kills, deadline = 0, time.monotonic() + KILLS_FOR_S
    while time.monotonic() < deadline:
        name = random.choice(list(workers))
        with suppress(subprocess.TimeoutExpired):
            workers[name].wait(timeout=random.uniform(*LIVES_S))
        workers[name].kill()
        kills += workers[name].wait() == -signal.SIGKILL
        workers[name] = start(scene, name, random)
        tell(f"{kills} kills, {deadline - time.monotonic():.0f} s more; {behind(scene)} records wait")
    return kills


def start(scene: Scene, name: str, random: Random) -> subprocess.Popen[bytes]:
    """A worker with a cut of its own; with a name in the group it gets its partitions back, without one they move."""
    named = {"HABITUS_STREAMS_INSTANCE": name} if random.random() < 1 / 2 else {}
    scene.start(HABITUS_STREAMS_BATCH=str(random.randint(200, 4_000)), HABITUS_STREAMS_LONGEST_PAUSE_S="0", **named)
    assert scene.worker is not None
    return scene.worker


def go_on(scene: Scene, tell: Tell) -> None:
    """The two that live handle the rest; one that ends is started again, as a supervisor would."""
    random = Random(SEED)  # noqa: S311  no secret
    deadline = time.monotonic() + RECORDS / SLOWEST_PER_S + 120
    living = scene.started[-2:]
    while waiting := behind(scene):
        assert time.monotonic() < deadline, f"{waiting} records wait"
        tell(f"{waiting} records wait")
        with suppress(subprocess.TimeoutExpired):
            living[0].wait(timeout=LOOK_EVERY_S)
            living[0] = start(scene, "three", random)
        living.reverse()


def behind(scene: Scene) -> int:
    """How many records and labels are not acknowledged."""
    group = f"{scene.settings.topic_prefix}streams"
    return sum(lag(scene.settings, group, topic) for topic in (scene.topics.records.name, scene.topics.labels.name))
