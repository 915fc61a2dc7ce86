"""Which cores the server and everybody else may use, and what the server costs: its CPU time and memory.

Processes inherit the cores of the thread that starts them, so a server is started while this thread is on the server's core.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Self

import psutil

from runtime.errors import HabitusError


@dataclass(frozen=True)
class Cores:
    """One core for the server, the others for the load client, Redis, Kafka and MLflow."""

    server: frozenset[int]
    others: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Self:
        """The last of the cores that we may use, and the rest. Raises `HabitusError` where there is but one, or no pinning."""
        if not hasattr(os, "sched_setaffinity"):
            raise HabitusError("this system pins no process to a core", remedy="measure on Linux")
        return cls.split(os.sched_getaffinity(0))

    @classmethod
    def split(cls, allowed: Iterable[int]) -> Self:
        """The last of `allowed`, and the rest. Raises `HabitusError` if nothing is left for the rest."""
        *others, server = sorted(allowed)
        if not others:
            raise HabitusError("server and client would share the only core", remedy="measure on two cores or more")
        return cls(frozenset({server}), frozenset(others))

    def __str__(self) -> str:
        names = ", ".join(map(str, sorted(self.others)))
        return f"the server alone on core {min(self.server)}; client, Redis, Kafka and MLflow on core {names}"


@contextmanager
def on(cores: frozenset[int]) -> Iterator[None]:
    """This thread, and what it starts, on `cores`; afterwards the thread is where it was."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes and all below them, so far."""
    times = [process.cpu_times() for process in _with_children(pids)]
    return sum(each.user + each.system for each in times)


def resident_bytes(pids: Iterable[int]) -> int:
    """Memory that these processes and all below them hold now."""
    return sum(int(process.memory_info().rss) for process in _with_children(pids))


def _with_children(pids: Iterable[int]) -> list[psutil.Process]:
    found: list[psutil.Process] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found += [process, *process.children(recursive=True)]
    return found
