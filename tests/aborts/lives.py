"""Short lives of a worker, one after the other on one scene, each ended at a boundary."""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from runtime.kafka import producer
from tests.aborts.boundaries import told
from tests.aborts.records import random_messages
from tests.scene import STARTS_WITHIN_S, Scene

ENDS_WITHIN_S = 30.0
MESSAGES_A_LIFE = 30
CUTS = (1, 12)  # messages of a batch, from and to
# A name in the group that is kept: a successor need not wait until the group has noticed that its predecessor is dead. And no
# pause after crashes, which would take these for a loop.
SAME_MEMBER = {"HABITUS_STREAMS_INSTANCE": "one", "HABITUS_STREAMS_LONGEST_PAUSE_S": "0"}


@dataclass
class Life:
    """A worker's process that is ready to begin, and where it will end."""

    boundary: str
    process: subprocess.Popen[bytes]
    gate: Path

    def live(self, scene: Scene) -> None:
        """Begin, and end at the boundary; fails if it ends otherwise or not at all."""
        before = self._told(scene)
        self.gate.write_bytes(b"")
        ended = self.process.wait(timeout=ENDS_WITHIN_S + STARTS_WITHIN_S)
        said = f"{self.boundary}, {scene.log.read_text()[-2000:]}"
        assert (ended, self._told(scene) - before) == (-signal.SIGKILL, 1), said

    def _told(self, scene: Scene) -> int:
        return scene.log.read_text().count(told(self.boundary))


def live_and_die(scene: Scene, boundaries: Iterable[str], seed: int, most: int = 2) -> None:
    """For each of `boundaries` some records, and a worker with its own cut that ends there, at the first to `most`-th time."""
    random = Random(seed)  # noqa: S311  no secret
    messages = random_messages(seed, 1_000_000)
    lives = _ready(scene, boundaries, random, most)
    coming = next(lives, None)
    while coming is not None:
        life, coming = coming, next(lives, None)
        send(scene, islice(messages, MESSAGES_A_LIFE * most))
        life.live(scene)


def go_on_to_the_end(scene: Scene, batch: int) -> None:
    """A worker that nobody kills, until all is acknowledged."""
    scene.start(HABITUS_STREAMS_BATCH=str(batch), **SAME_MEMBER)
    scene.drain(scene.topics.records.name, scene.topics.labels.name)


def send(scene: Scene, messages: Iterable[dict[str, Any]]) -> None:
    """Publish `messages` to person.records."""
    with producer(scene.settings) as sender:
        for message in messages:
            sender.send(scene.topics.records.name, **message)
        sender.flush()


def _ready(scene: Scene, boundaries: Iterable[str], random: Random, most: int) -> Iterator[Life]:
    for number, boundary in enumerate(boundaries):
        gate = scene.log.with_name(f"gate-{number}")
        os.mkfifo(gate)
        cut = {"HABITUS_STREAMS_BATCH": str(random.randint(*CUTS))}
        scene.start("tests.aborts.worker", boundary, str(random.randint(1, most)), str(gate), **cut, **SAME_MEMBER)
        assert scene.worker is not None
        yield Life(boundary, scene.worker, gate)
