"""Promises about finding and stopping what outlived a crash, kept on made-up processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from habitus.stack.survivors import HOME_MARK, PART_MARK, find, sweep

Start = Callable[..., subprocess.Popen[bytes]]
SLEEP = "import time; print(flush=True); time.sleep(60)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
WITH_A_CHILD = "import subprocess, sys; print(flush=True); subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []

    def one(program: str, root: Path | None, part: str = "dummy") -> subprocess.Popen[bytes]:
        marks = {} if root is None else {HOME_MARK: str(root), PART_MARK: part}
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", program], env={**os.environ, **marks}, stdout=subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()  # it runs its program now
        return process

    yield one
    for process in started:
        process.kill()
        process.communicate()


def test_a_marked_process_is_found_by_its_home_with_its_part(start: Start, tmp_path: Path) -> None:
    mine = start(SLEEP, tmp_path, "kafka")
    start(SLEEP, tmp_path / "other")
    start(SLEEP, None)
    assert find(tmp_path) == {mine.pid: "kafka"}


def test_the_sweep_stops_children_too_and_nobody_else_s(start: Start, tmp_path: Path) -> None:
    parent = start(WITH_A_CHILD, tmp_path)
    other = start(SLEEP, tmp_path / "other")
    deadline = time.monotonic() + 10
    while not (children := psutil.Process(parent.pid).children()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(children) == 1
    sweep(tmp_path)
    assert find(tmp_path) == {}
    assert other.poll() is None


def test_a_process_that_does_not_listen_is_killed(start: Start, tmp_path: Path) -> None:
    stubborn = start(STUBBORN, tmp_path)
    assert sweep(tmp_path, grace_s=0.2) == 1
    assert stubborn.wait(timeout=5) == -signal.SIGKILL


def test_the_process_that_sweeps_is_spared(tmp_path: Path) -> None:
    """Promise: a command that was itself started from within a stack does not end itself."""
    sweeper = "from pathlib import Path; from habitus.stack.survivors import sweep; sweep(Path({!r})); print('alive')"
    told = subprocess.run(
        [sys.executable, "-c", sweeper.format(str(tmp_path))],
        env={**os.environ, HOME_MARK: str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == "alive"
