"""Servers as processes: started on their core with a log file, ended for certain."""

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from habitus.stack.ports import LOCALHOST, choose

_STOPS_WITHIN_S = 20.0
ROOT = Path(__file__).parents[2]


def free_addresses(*names: str) -> dict[str, str]:
    """host:port of a free port for each name, all different."""
    return {name: f"{LOCALHOST}:{port}" for name, port in choose(dict.fromkeys(names, 0), {}).items()}


@contextmanager
def running(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> Iterator[int]:
    """The process of `argv`, from the checkout, with `environment` over ours; yields its pid and ends it with the block."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  the benchmark starts servers by design
            argv,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
