"""Waiting until parts are ready: they run, and answer where they have an address."""

import time
from collections.abc import Callable, Iterable
from typing import Protocol

from habitus.stack.parts import Part
from habitus.stack.ports import is_listened_on_by, with_children
from habitus.stack.supervision import ALIVE, ProcessInfo
from runtime.errors import HabitusError

# MLflow's first start took 31 s on two cores with nothing else running; everything starting at once takes longer.
TIMEOUT_S = 240.0
_LOOK_EVERY_S = 0.1


class States(Protocol):
    """What tells the state of every part; a `Supervisor` does."""

    def states(self) -> dict[str, ProcessInfo]:
        """Every part that is known."""
        ...


Watch = Callable[[str, str], None]  # told of each part, or step, and how far it is


def await_ready(supervisor: States, parts: Iterable[Part], watch: Watch, timeout_s: float = TIMEOUT_S) -> None:
    """Return when every part is ready. A failed part does not keep the others from being waited for.

    Raises `HabitusError`, naming the parts that failed or were not ready after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    waiting = {part.name: part for part in parts}
    failed: list[str] = []
    stumbled: set[str] = set()
    while waiting:
        states = supervisor.states()
        for name, part in list(waiting.items()):
            progress = _progress(states.get(name), part, stumbled)
            if progress not in {"ready", "failed"} and time.monotonic() > deadline:
                progress = "failed"
            watch(name, progress)
            if progress in {"ready", "failed"}:
                del waiting[name]
            if progress == "failed":
                failed.append(name)
        time.sleep(_LOOK_EVERY_S if waiting else 0)
    if failed:
        raise HabitusError(
            f"not ready: {', '.join(failed)}", remedy=f"`habitus logs {failed[0]}` tells why; then `habitus up` again"
        )


def _progress(process: ProcessInfo | None, part: Part, stumbled: set[str]) -> str:
    if process is None or process.state not in ALIVE:
        return "failed"
    if process.state == "running" and _listens(process, part) and part.answers():
        return "ready"
    if process.state == "backoff":
        stumbled.add(part.name)
    if part.name in stumbled:
        return "ended early, is being tried again"
    return f"waiting for {part.address}" if part.address else "waiting for it to begin its work"


def _listens(process: ProcessInfo, part: Part) -> bool:
    return part.port is None or is_listened_on_by(part.port, with_children(process.pid))
