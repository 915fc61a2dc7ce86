"""The home folder of a local stack: where everything is, what is remembered between starts, when it may be deleted."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import HabitusError
from runtime.settings import STACK_ENV, checkout

_DEFAULT_NAME = ".habitus"
_MEMORY = "stack.json"
# All that we ever make in a home, also what commands make before the first start. Nothing else in it is ever deleted.
_PARTS = frozenset({"run", "logs", "kafka", "redis", "mlflow", "streams", "stack.lock", _MEMORY, STACK_ENV})
_RESULTS = frozenset({"data", "demo", "feast", "models", "offline", "reports"})
_DRAFTS = (f".{_MEMORY}.", f".{STACK_ENV}.")


def cache_folder() -> Path:
    """What can be fetched again and serves every home: `HABITUS_CACHE`, else `habitus` in the user's cache folder."""
    named = os.environ.get("HABITUS_CACHE")
    if named:
        return Path(named).expanduser().absolute()
    user_cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(user_cache) if user_cache else Path.home() / ".cache") / "habitus"


@dataclass(frozen=True)
class Home:
    """The state of one local stack, all of it below `root` (an absolute path without symbolic links)."""

    root: Path

    @classmethod
    def at(cls, folder: Path) -> "Home":
        """The home at `folder`, which need not exist yet."""
        return cls(folder.expanduser().resolve())

    @property
    def run(self) -> Path:
        """What belongs to the running stack: supervisord's files and the launch orders."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One log file a part."""
        return self.root / "logs"

    @property
    def stack_env(self) -> Path:
        """The addresses of the stack, read by every process's settings."""
        return self.root / STACK_ENV

    @property
    def memory(self) -> Path:
        """What is remembered between starts; its presence also tells that this folder is ours."""
        return self.root / _MEMORY

    def create(self) -> None:
        """Make the folders. Raises `HabitusError` if they cannot be written, or if the folder is somebody else's."""
        try:
            self._refuse_if_foreign()
            for folder in (self.root, self.run, self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            self.run.chmod(0o700)
        except OSError as error:
            raise HabitusError(
                f"{self.root} cannot be written: {error}", remedy="set HABITUS_HOME to a folder of yours"
            ) from error

    def remembered_ports(self) -> dict[str, int]:
        """The ports of the last start; empty before the first, or if the file is damaged."""
        try:
            remembered = json.loads(self.memory.read_text())["ports"]
            return {str(name): int(port) for name, port in remembered.items()}
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            return {}

    def remember_ports(self, ports: dict[str, int]) -> None:
        """Keep `ports` for the next start, so that addresses stay as they are while nobody else takes them."""
        write_whole(self.memory, json.dumps({"ports": ports}, indent=2) + "\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One `up` or `down` at a time; raises `HabitusError` if another one is at work. The folder must exist."""
        with (self.root / "stack.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise HabitusError(
                    f"another `habitus up` or `down` is at work on {self.root}", remedy="wait for it, or interrupt it"
                ) from error
            yield

    def refuse_unless_ours(self) -> None:
        """Raise `HabitusError` if deleting this folder might delete more than a stack's state."""
        protected = [Path.home(), Path.cwd(), *([root] if (root := checkout()) else [])]
        ours = self.memory.exists() or self.root.name == _DEFAULT_NAME
        if not ours or any(kept.resolve().is_relative_to(self.root) for kept in protected):
            raise HabitusError(
                f"{self.root} does not look like a habitus home and was not deleted",
                remedy="see that HABITUS_HOME names the right folder, or delete it by hand",
            )

    def purge(self) -> tuple[str, ...]:
        """Delete what we made and, if that was all, the folder; returns the names of what is left.

        Raises `HabitusError` if the folder does not look like ours. Nothing may run in it.
        """
        if not self.root.exists():
            return ()
        self.refuse_unless_ours()
        for entry in self.root.iterdir():
            if _is_made_by_us(entry.name):
                _delete(entry)
        left = self._foreign()
        if not left:
            self.root.rmdir()
        return left

    def _refuse_if_foreign(self) -> None:
        if not self.root.exists() or self.memory.exists():
            return
        if foreign := self._foreign():
            raise HabitusError(
                f"{self.root} is no habitus home and is not empty: it holds {named(foreign)}",
                remedy="set HABITUS_HOME to an empty folder, or to one that does not exist yet",
            )

    def _foreign(self) -> tuple[str, ...]:
        return tuple(sorted(entry.name for entry in self.root.iterdir() if not _is_made_by_us(entry.name)))


def named(entries: tuple[str, ...], most: int = 3) -> str:
    """The first few of `entries`, and how many more there are."""
    more = len(entries) - most
    return ", ".join(entries[:most]) + (f" and {more} more" if more > 0 else "")


def _is_made_by_us(name: str) -> bool:
    return name in _PARTS | _RESULTS or name.startswith(_DRAFTS)


def _delete(entry: Path) -> None:
    if entry.is_dir() and not entry.is_symlink():
        shutil.rmtree(entry)
    else:
        entry.unlink()


def write_whole(path: Path, text: str, mode: int = 0o644) -> None:
    """Write `text` so that a reader sees the old file or the new one, never a part."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)
