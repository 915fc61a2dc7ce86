"""Where a worker can be ended: a trap that kills its own process at a boundary, and the seams that the trap is set into.

Place in the flow: `worker` sets the trap into a real worker's shelf, files and acknowledgements. The code that is tested knows
nothing of it.
"""

import fcntl
import os
import signal
import stat
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from faust.events import Event
from faust.transport.consumer import Consumer

from streams.shelf import Shelf

# In the order of the work on a batch of person records. What is reached after one effect and before the next is one boundary.
OF_A_BATCH = (
    "decoded",
    "half of the dead letters published",
    "dead letters published",
    "half of the labels published",
    "labels published",
    "draft written",
    "draft synced",
    "file linked",
    "folder synced",
    "half of the features published",
    "features published",
    "half of the online rows written",
    "online rows written",
    "watermark advanced",
    "one acknowledged",
    "acknowledged",
    "committed",
)
# The history of labels, and the ledger that binds a history to its log.
OF_OTHER_FILES = tuple(
    f"{kind} {boundary}" for kind in ("label", "ledger") for boundary in ("draft written", "file linked", "folder synced")
)
ALL = OF_A_BATCH + OF_OTHER_FILES


@dataclass
class Trap:
    """Kills the process with SIGKILL, the `nth` time that it passes the boundary `at`."""

    at: str
    nth: int
    passed: int = 0

    def passes(self, boundary: str) -> None:
        """The process is at `boundary`."""
        if boundary != self.at:
            return
        self.passed += 1
        if self.passed == self.nth:
            os.write(1, f"{told(self.at)}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)


def told(boundary: str) -> str:
    """What a worker's log says last."""
    return f"ended at the boundary: {boundary}"


def set_into_shelf(trap: Trap, shelf: Shelf) -> Shelf:
    """The shelf with the trap around what it publishes and what it writes online."""
    return replace(shelf, publisher=_Publisher(shelf.publisher, trap), online=_Online(shelf.online, trap))


class _Publisher:
    """Publishes in two halves."""

    def __init__(self, real: Any, trap: Trap) -> None:
        self._real = real
        self._trap = trap

    def dead_letters(self, topic: str, letters: Sequence[Any]) -> None:
        self._trap.passes("decoded")
        self._in_halves(letters, lambda half: self._real.dead_letters(topic, half), "dead letters published")

    def labels(self, labels: Sequence[Any]) -> None:
        self._in_halves(labels, self._real.labels, "labels published")

    def features(self, rows: Sequence[Any]) -> None:
        self._in_halves(rows, self._real.features, "features published")

    def _in_halves(self, items: Sequence[Any], publish: Callable[[Sequence[Any]], None], what: str) -> None:
        if not items:
            return
        half = len(items) // 2
        publish(items[:half])
        self._trap.passes(f"half of the {what}")
        publish(items[half:])
        self._trap.passes(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Online:
    """Writes the rows of one half of the persons, then those of the other."""

    def __init__(self, real: Any, trap: Trap) -> None:
        self._real = real
        self._trap = trap

    def at(self, epoch: int) -> "_Online":
        return _Online(self._real.at(epoch), self._trap)

    def apply(self, rows: pa.Table, states: Mapping[str, Any]) -> None:
        persons = sorted(set(rows["person_id"].to_pylist()))
        ours = pc.field("person_id").isin(pa.array(persons[: len(persons) // 2], pa.string()))
        self._real.apply(rows.filter(ours), states)
        self._trap.passes("half of the online rows written")
        self._real.apply(rows.filter(~ours), states)

    def advance_watermark(self, *arguments: Any) -> bool:
        self._trap.passes("online rows written")
        moved: bool = self._real.advance_watermark(*arguments)
        self._trap.passes("watermark advanced")
        return moved

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def set_into_files(trap: Trap) -> None:
    """Put the trap around the system calls that make a file durable and visible."""
    fsync, link = os.fsync, os.link
    last = threading.local()

    def trapped_fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            fsync(descriptor)
            linked = last.__dict__.pop("linked", None)
            if linked is not None:
                trap.passes(f"{linked}folder synced")
            return
        kind = _kind(_path_of(descriptor))
        trap.passes(f"{kind}draft written")
        fsync(descriptor)
        trap.passes(f"{kind}draft synced")

    def trapped_link(source: Any, target: Any, **options: Any) -> None:
        link(source, target, **options)
        last.linked = _kind(Path(target))
        trap.passes(f"{last.linked}file linked")

    os.fsync, os.link = trapped_fsync, trapped_link


def set_into_acknowledgements(trap: Trap) -> None:
    """Put the trap around Faust's acknowledgement of a record and its commit of offsets."""
    ack, commit = Event.ack, Consumer._commit_offsets

    def trapped_ack(event: Any) -> bool:
        acknowledged: bool = ack(event)
        if event.message.topic.endswith("person.records"):
            trap.passes("one acknowledged")
        return acknowledged

    async def trapped_commit(self: Any, *arguments: Any, **options: Any) -> bool:
        trap.passes("acknowledged")
        committed: bool = await commit(self, *arguments, **options)
        trap.passes("committed")
        return committed

    Event.ack, Consumer._commit_offsets = trapped_ack, trapped_commit


def _kind(path: Path) -> str:
    if not any(part.startswith("dt=") for part in path.parts):
        return "ledger "
    return "label " if "person_labels" in path.parts else ""


def _path_of(descriptor: int) -> Path:
    if hasattr(fcntl, "F_GETPATH"):  # macOS
        return Path(fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode())
    return Path(f"/proc/self/fd/{descriptor}").readlink()
