"""Ports that a stack of this user has chosen and not yet opened, so that two that start at once do not choose the same."""

import fcntl
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from habitus.stack.home import write_whole
from runtime.errors import HabitusError

_VALID_S = 600  # longer than any start; a start that was killed blocks its ports no longer than this


@dataclass
class Reservations:
    """Who has reserved which port, and until when (seconds since the epoch)."""

    owner: str
    now: Callable[[], float] = time.time
    held: dict[int, tuple[str, float]] = field(default_factory=dict)

    def is_of_another(self, port: int) -> bool:
        """Whether another stack has reserved `port`."""
        owner, until = self.held.get(port, (self.owner, 0.0))
        return owner != self.owner and until > self.now()

    def add(self, ports: Iterable[int]) -> None:
        """Reserve `ports`."""
        self.held |= {port: (self.owner, self.now() + _VALID_S) for port in ports}

    def release(self) -> None:
        """Give back every port of this owner, and forget what has run out."""
        self.held = {port: kept for port, kept in self.held.items() if kept[0] != self.owner and kept[1] > self.now()}


@contextmanager
def reservations(folder: Path, owner: Path) -> Iterator[Reservations]:
    """The reservations kept in `folder`, for `owner` to read and change; nobody else does meanwhile.

    Raises `HabitusError` if they cannot be kept there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "ports.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            book = Reservations(str(owner), held=_read(folder / "ports.json"))
            yield book
            write_whole(folder / "ports.json", json.dumps(book.held))
    except OSError as error:
        raise HabitusError(f"{folder}: {error}", remedy="set HABITUS_CACHE to a folder of yours") from error


def _read(file: Path) -> dict[int, tuple[str, float]]:
    try:
        return {int(port): (str(owner), float(until)) for port, (owner, until) in json.loads(file.read_text()).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):
        return {}
