"""Reading the parts' log files: their last lines, and what is written to them from now on."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_LOOK_EVERY_S = 0.2


@dataclass(frozen=True)
class Line:
    """One line of the log of `part`."""

    part: str
    text: str


def last_lines(logs: Mapping[str, Path], count: int) -> Iterator[Line]:
    """The last `count` lines of each log, part by part; a log that does not exist has none."""
    for part, path in logs.items():
        if path.exists():
            with path.open(errors="replace") as file:
                yield from (Line(part, text.rstrip("\n")) for text in deque(file, maxlen=count))


def _pause() -> None:
    time.sleep(_LOOK_EVERY_S)


def follow(logs: Mapping[str, Path], *, pause: Callable[[], None] = _pause) -> Iterator[Line]:
    """Every line written from now on, without end; goes on through rotation, and with logs that appear later."""
    tails = [_Tail(part, path) for part, path in logs.items()]
    while True:
        for tail in tails:
            yield from tail.news()
        pause()


class _Tail:
    """The end of one log file, wherever it moves."""

    def __init__(self, part: str, path: Path) -> None:
        self._part, self._path = part, path
        self._file, self._place = self._identity()
        self._unfinished = ""

    def news(self) -> Iterator[Line]:
        """The whole lines that were added since the last call."""
        file, size = self._identity()
        if file != self._file or size < self._place:  # rotated: start over with the new file
            self._file, self._place, self._unfinished = file, 0, ""
        if size > self._place:
            with self._path.open("rb") as log:
                log.seek(self._place)
                added = log.read()
            self._place += len(added)
            *whole, self._unfinished = (self._unfinished + added.decode(errors="replace")).split("\n")
            yield from (Line(self._part, text) for text in whole)

    def _identity(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_size
