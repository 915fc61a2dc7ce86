"""Crash loops: a worker that ends again and again before it has acknowledged anything waits longer each time it starts.

Place in the flow: `bootstrap` asks before it works. What is known of earlier lives lies in a file, which SIGKILL leaves behind;
a lock on it, which the system takes from the dead, keeps workers that share a home apart.
"""

import fcntl
import os
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from runtime.topics import Topics
from streams.messages import Shard
from streams.supervision.progress import Progress
from streams.supervision.watchdog import Standing

FIRST_PAUSE_S = 1.0
GROWTH = 2.0
_DIGITS = 6


class Life:
    """One run of a worker, and how many before it ended without an acknowledgement; holds its file until the process ends."""

    def __init__(self, folder: Path, name: str) -> None:
        """Take the first free file of `name` in `folder`. Raises `OSError` if the folder cannot be written."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = _first_free(folder, name)
        self.failures = _read(self._file)

    def pause_s(self, longest_s: float) -> float:
        """How long to wait before work: doubling from FIRST_PAUSE_S with each failure, `longest_s` at most."""
        if self.failures == 0:
            return 0.0
        return min(FIRST_PAUSE_S * GROWTH ** min(self.failures - 1, 32), longest_s)

    def begin(self) -> None:
        """Work begins: unless told otherwise, this life counts as one more failure."""
        self._write(self.failures + 1)

    def acknowledged(self) -> None:
        """Something was acknowledged: whatever comes now, the loop is broken."""
        if self.failures or _read(self._file):
            self.failures = 0
            self._write(0)

    def stopped(self) -> None:
        """The worker ends because it was asked to: this life counts neither way."""
        if _read(self._file) > self.failures:
            self._write(self.failures)

    def close(self) -> None:
        """Let another worker take the file, as the end of the process does."""
        os.close(self._file)

    def _write(self, failures: int) -> None:
        os.pwrite(self._file, b"%0*d\n" % (_DIGITS, min(failures, 10**_DIGITS - 1)), 0)


def got_somewhere(standings: Mapping[Shard, Standing], progress: Progress, topics: Topics) -> bool:
    """Whether the brokers know that this life acknowledged something of what it was given.

    Labels do not count while records wait: a worker that crashes at a record has split its label off before, each time again,
    and handles those that it published itself.
    """
    moved = {shard.topic for shard, each in standings.items() if progress.has_acknowledged(shard, each.acknowledged)}
    records_wait = any(shard.topic == topics.records.name and each.lag for shard, each in standings.items())
    return bool(moved - ({topics.labels.name} if records_wait else set()))


def _first_free(folder: Path, name: str) -> int:
    for number in count():
        file = os.open(folder / f"{name}-{number}.life", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)  # another worker lives in it
        else:
            return file
    raise AssertionError("count() is endless")


def _read(file: int) -> int:
    text = os.pread(file, _DIGITS, 0)
    return int(text) if text.isdigit() else 0
