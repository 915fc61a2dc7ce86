"""The predictor under load for twenty minutes, while Redis restarts, Kafka goes away, models and rows are replaced."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from itertools import cycle

import grpc
import pytest

from benchmarks.serving.asking import PREDICT, request_for, sized
from benchmarks.serving.h2load import load
from benchmarks.serving.population import store
from tests.soak.options import option
from tests.soak.serving_load import Load, stub_of
from tests.soak.serving_scene import POLL_S, ServingScene, serving_scene
from tests.soak.serving_truth import offsets_of
from tests.soak.telling import Tell

SECONDS = option("SOAK_SERVING_S", 1_200)
PERSONS = option("SOAK_SERVING_PERSONS", 1_000)
RELOADS = option("SOAK_RELOADS", 20)
LOAD_PERCENT = option("SOAK_LOAD_PERCENT", 70)
VERSIONS = 3
CROWD, CROWD_S = 32, 5.0  # how capacity is found
LOOK_EVERY_S = 0.1
REDIS_DOWN_S = min(10.0, SECONDS / 40)
SWITCHES_WITHIN_S = POLL_S + 60.0  # download, load, check and warm-up beside the load
LEAST_ANSWERED = 0.9  # of all requests that deserve an answer, outages included
Act = tuple[float, str, Callable[[], Awaitable[None]]]


@pytest.fixture(scope="module")
def serving() -> Iterator[ServingScene]:
    """A predictor that is about to serve."""
    with serving_scene(PERSONS, VERSIONS) as made:
        yield made


@pytest.mark.timeout(SECONDS + RELOADS * SWITCHES_WITHIN_S + 600)
async def test_under_load_every_answer_is_that_of_the_named_version_on_the_stored_row(serving: ServingScene, tell: Tell) -> None:
    """Promise: over a Redis restart, a Kafka outage, reloads and new rows no answer is wrong, mixed or older than what was
    stored when it was asked for; errors are only those that the request deserves, overload, and a store that is gone.
    """
    capacity = await asyncio.to_thread(capacity_of, serving)
    async with grpc.aio.insecure_channel(serving.address) as channel:
        rows = [f"simulated-{number:06d}" for number in range(PERSONS)]
        asking = Load(stub_of(channel), serving.truth, rows, serving.store_was_gone, stored=dict.fromkeys(rows, 0))
        capacity = capacity or await asking.crowd(CROWD, CROWD_S)
        rate = capacity * LOAD_PERCENT / 100
        tell(f"{capacity:.0f} requests/s are possible; {rate:.0f} for {SECONDS} s; {serving.resident_mib():.0f} MiB")
        await under_load(asking, rate, story(serving, asking, tell))
    tell(f"{serving.resident_mib():.0f} MiB; held back by the client: {asking.book.held_back}")
    tell(", ".join(f"{kind} {code}: {count}" for (kind, code), count in sorted(asking.book.codes.items())))
    assert (asking.book.wrong, asking.book.faults) == (0, [])
    assert answered_share(asking) > LEAST_ANSWERED


def capacity_of(serving: ServingScene) -> float:
    """Requests a second by h2load; 0 where it is not installed, and our own client must find out."""
    calls = sized(serving.address, PREDICT, [request_for("simulated-000000")])
    if shutil.which("h2load") is None:
        return 0.0
    guess = load(serving.address, calls, CROWD, CROWD * 10).answers_per_second
    return load(serving.address, calls, CROWD, round(guess * CROWD_S)).answers_per_second


async def under_load(asking: Load, rate: float, acts: list[Act]) -> None:
    """Do every act at its time while requests come at `rate`, to the end."""
    over, started = asyncio.Event(), time.monotonic()
    requests = asyncio.create_task(asking.keep(rate, over))
    try:
        for share, _, act in sorted(acts, key=lambda each: each[0]):
            await asyncio.sleep(max(0.0, started + share * SECONDS - time.monotonic()))
            await act()
        await asyncio.sleep(max(0.0, started + SECONDS - time.monotonic()))
    finally:
        over.set()
        await requests


def story(serving: ServingScene, asking: Load, tell: Tell) -> list[Act]:
    """What happens, and after which share of the time."""
    numbers = cycle([*sorted(serving.truth.pipelines)[1:], min(serving.truth.pipelines)])
    acts: list[Act] = [
        ((number + 1) / (RELOADS + 2), "reload", lambda: reload(serving, asking, next(numbers), tell))
        for number in range(RELOADS)
    ]
    acts += [(share, "rows", lambda: replace_rows(serving, asking, tell)) for share in (0.15, 0.45, 0.8)]
    acts.append((0.33, "redis", lambda: announced(tell, "Redis restarts", serving.in_thread("restart_redis", REDIS_DOWN_S))))
    acts.append((0.6, "kafka", lambda: announced(tell, "Kafka is gone", serving.in_thread("stop_kafka"))))
    acts.append((0.7, "kafka", lambda: announced(tell, "Kafka is back", serving.in_thread("start_kafka"))))
    acts.append((0.98, "log", lambda: log_goes_on(serving, tell)))
    return acts


async def announced(tell: Tell, what: str, act: Awaitable[None]) -> None:
    """Say `what`, and do it."""
    tell(what)
    await act


async def reload(serving: ServingScene, asking: Load, version: str, tell: Tell) -> None:
    """Make `version` champion and wait until it answers."""
    began = time.monotonic()
    await serving.in_thread("promote", version)
    while asking.book.latest != version:
        assert time.monotonic() - began < SWITCHES_WITHIN_S, f"version {version} does not answer: {asking.book.faults}"
        await asyncio.sleep(LOOK_EVERY_S)
    tell(f"version {version} answers after {time.monotonic() - began:.1f} s; wrong so far: {asking.book.wrong}")


async def replace_rows(serving: ServingScene, asking: Load, tell: Tell) -> None:
    """New rows of all persons; requests that begin afterwards must be answered from them."""
    rows = await asyncio.to_thread(serving.next_rows)
    await asyncio.to_thread(store, rows, serving.stage.settings)
    asking.stored |= dict(zip(rows.person_ids, offsets_of(rows), strict=True))
    tell(f"new rows of {len(rows.person_ids)} persons")


async def log_goes_on(serving: ServingScene, tell: Tell) -> None:
    """After Kafka's outage predictions are logged again."""
    before, began = await asyncio.to_thread(serving.logged), time.monotonic()
    while (now := await asyncio.to_thread(serving.logged)) == before:
        assert time.monotonic() - began < SWITCHES_WITHIN_S, "no prediction is logged any more"
        await asyncio.sleep(LOOK_EVERY_S)
    tell(f"{now} predictions are logged")


def answered_share(asking: Load) -> float:
    """Of the requests about known persons, those that were answered."""
    asked = {code: count for (kind, code), count in asking.book.codes.items() if kind == "known"}
    return asked.get("OK", 0) / sum(asked.values())
