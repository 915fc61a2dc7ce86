"""A stage for tests of the stream: topics and stores of one test, real worker processes on it, and what one can ask of them."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from feature_repo.offline.history import open_history
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, Dataset
from runtime.kafka import consumer, ensure_topics, lag, producer
from runtime.topics import Topics
from streams.adapters.dead_letters import read_dead_letters
from streams.settings import StreamsSettings
from streams.verify import verify

BASE_MS = round(datetime(2024, 5, 1, 12, tzinfo=UTC).timestamp() * 1000)
DRAINED_WITHIN_S = 90.0
STOPS_WITHIN_S = 5.0
STARTS_WITHIN_S = 30.0
LOOK_EVERY_S = 0.2
NO_PAUSE = {"HABITUS_STREAMS_LONGEST_PAUSE_S": "0"}  # tests kill workers again and again; each is to work at once
ROOT = Path(__file__).parents[1]


@dataclass
class Scene:
    """Topics and stores of one test, its worker, and what one can ask of them."""

    settings: StreamsSettings
    log: Path
    topics: Topics = field(init=False)
    worker: subprocess.Popen[bytes] | None = None
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.topics = Topics(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to this scene."""
        names = ("kafka_bootstrap", "topic_prefix", "project", "home", "offline_uri", "registry_uri")
        addresses = {f"HABITUS_{name.upper()}": str(getattr(self.settings, name)) for name in names}
        return addresses | {"HABITUS_REDIS_URL": self.settings.redis_url.get_secret_value()}

    def start(self, *command: str, **overrides: str) -> None:
        """Start a worker of this scene, or a stand-in for it: a module and its arguments."""
        with self.log.open("ab") as log:
            self.worker = subprocess.Popen(
                [sys.executable, "-m", *(command or ("streams",))],
                cwd=ROOT,
                env=os.environ | self.environment | NO_PAUSE | overrides,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(self.worker)

    def kill(self) -> None:
        """End the worker with SIGKILL."""
        assert self.worker is not None
        self.worker.kill()
        self.worker.wait(timeout=STOPS_WITHIN_S)

    def await_end(self, within_s: float = STARTS_WITHIN_S) -> int:
        """Wait until the worker has ended by itself; its exit code."""
        assert self.worker is not None
        return self.worker.wait(timeout=within_s)

    def unacknowledged(self, topic: str) -> int:
        """How many messages of `topic` are not acknowledged."""
        return lag(self.settings, f"{self.settings.topic_prefix}streams", topic)

    def rows(self, dataset: Dataset) -> pa.Table:
        """Every row of a history."""
        return open_history(self.settings, dataset).scan()

    def await_log(self, text: str, within_s: float = STARTS_WITHIN_S) -> None:
        """Wait until the worker's log says `text`."""
        wait_until(lambda: text in self.log.read_text(), within_s, f"{text!r} in {self.log.read_text()[-2000:]}")

    def drain(self, *topics: str) -> None:
        """Wait until every message of `topics` is acknowledged."""
        for topic in topics:
            wait_until(lambda topic=topic: self.unacknowledged(topic) == 0, DRAINED_WITHIN_S, f"{topic} drained")

    def read(self, topic: str) -> list[Any]:
        """Every message of `topic`."""
        with consumer_of(self.settings, topic) as reader:
            ends = reader.end_offsets(reader.assignment())
            found: list[Any] = []
            deadline = time.monotonic() + DRAINED_WITHIN_S
            while any(reader.position(place) < end for place, end in ends.items()):
                assert time.monotonic() < deadline
                for messages in reader.poll(timeout_ms=500).values():
                    found += messages
            return found


@contextmanager
def staged(settings: StreamsSettings, log: Path) -> Iterator[Scene]:
    """Topics and stores of `settings`, no worker yet; whatever workers are started are killed in the end."""
    made = Scene(settings, log)
    made.log.touch()
    ensure_topics(settings, made.topics.all())
    try:
        yield made
    finally:
        for worker in made.started:
            worker.kill()
            worker.wait(timeout=STOPS_WITHIN_S)


@contextmanager
def consumer_of(settings: StreamsSettings, topic: str) -> Iterator[Any]:
    """A consumer that is assigned all partitions of `topic`, from the beginning."""
    from kafka import TopicPartition  # noqa: PLC0415  only here

    reader = consumer(settings)
    try:
        places = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
        reader.assign(places)
        reader.seek_to_beginning(*places)
        yield reader
    finally:
        reader.close()


def wait_until(holds: Callable[[], bool], within_s: float, what: str) -> None:
    """Look until `holds`; fails after `within_s`."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(LOOK_EVERY_S)


def person(number: int, **overrides: Any) -> dict[str, Any]:
    """The `number`-th record of a population of 50 with weights that move."""
    return {
        "person_id": f"p{number % 50}",
        "Gender": ("Female", "Male")[number % 2],
        "Age": 20 + number % 60,
        "Height": 1.5 + number % 50 / 100,
        "Weight": 50 + number * 7 % 60,
        "FAF": number % 4,
        "NObeyesdad": "Normal_Weight",
    } | overrides


def send_people(scene: Scene, count: int, start: int = 0) -> None:
    """Publish `count` valid records, a minute apart."""
    with producer(scene.settings) as sender:
        for number in range(start, start + count):
            fields = person(number)
            value = json.dumps(fields).encode()
            sender.send(
                scene.topics.records.name, key=fields["person_id"].encode(), value=value, timestamp_ms=BASE_MS + number * 60_000
            )
        sender.flush()


def require_nothing_lost(scene: Scene, published: int, dead: int = 0) -> None:
    """Accepted + dead = published, each once; person.features complete; online = history; every label kept."""
    rows = scene.rows(PERSON_FEATURES)
    places = list(zip(rows["source_partition"].to_pylist(), rows["source_offset"].to_pylist(), strict=True))
    assert len(set(places)) == len(places) == published - dead
    letters = read_dead_letters(scene.settings, scene.topics.records.name)
    assert len({(each.source, each.source_offset) for each in letters}) == dead
    features = [json.loads(each.value) for each in scene.read(scene.topics.features.name)]
    assert {(each["source_partition"], each["source_offset"]) for each in features} == set(places)
    by_place = {(each["source_partition"], each["source_offset"]): each["bmi"] for each in features}
    assert by_place == dict(zip(places, rows["bmi"].to_pylist(), strict=True))
    seen = Counter(rows["person_id"].to_pylist())
    for person_id, counts in _records_seen(rows).items():
        assert sorted(counts) == list(range(1, seen[person_id] + 1))
    report = asyncio.run(verify(scene.settings))
    assert (report.checked, report.holds) == (len(seen), True), report
    labels = scene.rows(PERSON_LABELS).to_pylist()
    assert len({(each["person_id"], each["event_timestamp"]) for each in labels}) == published - dead


def _records_seen(rows: Any) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for person_id, seen in zip(rows["person_id"].to_pylist(), rows["records_seen"].to_pylist(), strict=True):
        found.setdefault(person_id, []).append(seen)
    return found
