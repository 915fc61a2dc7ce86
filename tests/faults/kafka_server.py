"""A Kafka that only the tests of one module use, so that it may be restarted and paused."""

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from habitus.stack.ports import USUAL
from tests.scene import wait_until

_MOMENT_S = 5.0  # in which the pause surely ends once it is due


class KafkaServer:
    """A broker on a port of its own."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self.bootstrap = stack.up(["kafka"]).addresses["kafka"]

    def restart(self) -> None:
        """Stop it in order and start it again; returns when it answers."""
        self._stack.supervisor.stop("kafka")
        self._stack.up(["kafka"])

    def pause(self, seconds: float) -> None:
        """Let it do nothing for so long, with its connections open."""
        pid = self._stack.supervisor.states()["kafka"].pid
        os.kill(pid, signal.SIGSTOP)
        try:
            due = time.monotonic() + seconds
            wait_until(lambda: time.monotonic() >= due, seconds + _MOMENT_S, "the pause is over")
        finally:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def kafka_server() -> Iterator[KafkaServer]:
    """A broker that runs; stopped in the end, also if the tests are killed."""
    folder = Path(tempfile.mkdtemp(prefix="habitus-faults-"))
    stack = Stack(Home.at(folder / "home"), usual=dict.fromkeys(USUAL, 0), tied=True)
    try:
        yield KafkaServer(stack)
    finally:
        stack.down()
        shutil.rmtree(folder)
