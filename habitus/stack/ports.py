"""Which TCP ports the parts get: those of the last start, else the usual ones, else free ones."""

import random
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

import psutil

from runtime.errors import HabitusError

LOCALHOST = "127.0.0.1"

USUAL: Mapping[str, int] = {
    "kafka": 9092,
    "kafka_controller": 9093,
    "redis": 6379,
    "mlflow": 5000,
    "predictor": 50051,
}

# Below the range that systems hand out to clients (Linux: from 32768), so that no client's socket takes one in between.
_SPARE = range(20_000, 32_000)
_ATTEMPTS = 200


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of localhost now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed counts as free
        try:
            trial.bind((LOCALHOST, port))
        except OSError:
            return False
    return True


def is_listened_on_by(port: int, pids: Iterable[int]) -> bool:
    """Whether one of the processes `pids` takes connections on `port`; believed where the system does not tell."""
    for pid in pids:
        try:
            connections = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.AccessDenied:
            return True
        except psutil.Error:
            continue  # it has ended
        if any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in connections):
            return True
    return False


def with_children(pid: int) -> list[int]:
    """`pid` and every process below it; empty if it has ended."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def choose(
    usual: Mapping[str, int],
    remembered: Mapping[str, int],
    in_use_by_us: frozenset[str] = frozenset(),
    *,
    free: Callable[[int], bool] = is_free,
) -> dict[str, int]:
    """A port for each name of `usual`, all different.

    Names in `in_use_by_us` keep their remembered port unasked. Raises `HabitusError` if no free port is found.
    """
    chosen = {name: remembered[name] for name in usual if name in in_use_by_us and name in remembered}
    for name in usual:
        if name not in chosen:
            taken = set(chosen.values())
            candidates = _candidates(usual[name], remembered.get(name))
            chosen[name] = _first_free(name, (port for port in candidates if port not in taken), free)
    return {name: chosen[name] for name in usual}


def _candidates(usual: int, remembered: int | None) -> Iterator[int]:
    if remembered is not None:
        yield remembered
    if usual:
        yield usual
    yield from random.sample(_SPARE, _ATTEMPTS)


def _first_free(name: str, candidates: Iterator[int], free: Callable[[int], bool]) -> int:
    for port in islice(candidates, _ATTEMPTS):
        if free(port):
            return port
    raise HabitusError(f"no free port for {name}", remedy="close programs that listen on many ports")
