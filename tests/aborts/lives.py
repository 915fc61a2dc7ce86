"""Short lives of a worker, one after the other on one scene, each ended at a boundary."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from runtime.kafka import producer
from tests.aborts.boundaries import told
from tests.aborts.records import random_messages
from tests.scene import STARTS_WITHIN_S, Scene

ENDS_WITHIN_S = STARTS_WITHIN_S + 30.0
LOOK_FOR_S = 1.0
SENT_AT_ONCE = 20
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

    def live(self, scene: Scene, messages: Iterator[dict[str, Any]]) -> None:
        """Begin, and end at the boundary while ever more `messages` come; fails if it ends otherwise or not at all."""
        before = self._told(scene)
        send(scene, islice(messages, SENT_AT_ONCE))
        self.gate.write_bytes(b"")
        deadline = time.monotonic() + ENDS_WITHIN_S
        while (ended := self._code()) is None and time.monotonic() < deadline:
            send(scene, islice(messages, SENT_AT_ONCE))
        said = f"{self.boundary}, {scene.log.read_text()[-2000:]}"
        assert (ended, self._told(scene) - before) == (-signal.SIGKILL, 1), said

    def _code(self) -> int | None:
        """The exit code; None if the process lives on for a while."""
        with suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout=LOOK_FOR_S)
        return None

    def _told(self, scene: Scene) -> int:
        return scene.log.read_text().count(told(self.boundary))


def live_and_die(scene: Scene, ends: Iterable[tuple[str, int]], seed: int) -> None:
    """A life for each of `ends`, a boundary and how often it is passed until the life ends, each with a cut of its own."""
    messages = random_messages(seed, 1_000_000)
    lives = _ready(scene, ends, Random(seed))  # noqa: S311  no secret
    coming = next(lives, None)
    while coming is not None:
        life, coming = coming, next(lives, None)  # the next one is made ready meanwhile
        life.live(scene, messages)


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


def _ready(scene: Scene, ends: Iterable[tuple[str, int]], random: Random) -> Iterator[Life]:
    for number, (boundary, nth) in enumerate(ends):
        gate = scene.log.with_name(f"gate-{number}")
        os.mkfifo(gate)
        cut = {"HABITUS_STREAMS_BATCH": str(random.randint(*CUTS))}
        scene.start("tests.aborts.worker", boundary, str(nth), str(gate), **cut, **SAME_MEMBER)
        assert scene.worker is not None
        yield Life(boundary, scene.worker, gate)
