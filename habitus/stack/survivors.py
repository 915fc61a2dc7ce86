"""Processes that outlived a crash: each carries its home in the environment, so that it is found and stopped.

Redis is the exception: it writes its title over its environment. It is known by its name and the folder it works in.
"""

import contextlib
import os
import time
from pathlib import Path

import psutil

from habitus.stack.redis import PROGRAMS as REDIS_PROGRAMS

HOME_MARK = "HABITUS_STACK"  # value: the home folder; children inherit it
PART_MARK = "HABITUS_STACK_PART"  # value: the part's name
_GRACE_S = 10.0
_LOOK_EVERY_S = 0.05


def find(root: Path) -> dict[int, str]:
    """The live processes that carry the mark of the home `root`: their pid and part ("" for supervisord).

    Leaves out this process and those that it runs in.
    """
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = {}
    for process in psutil.process_iter():
        if process.pid in own:
            continue
        try:
            part = _part(process, root)
        except (psutil.Error, OSError):
            continue  # it ended meanwhile, or belongs to someone else
        if part is not None:
            found[process.pid] = part
    return found


def _part(process: psutil.Process, root: Path) -> str | None:
    if process.name() in REDIS_PROGRAMS:
        return "redis" if Path(process.cwd()) == root / "redis" else None
    environment = process.environ()
    return environment.get(PART_MARK, "") if environment.get(HOME_MARK) == str(root) else None


def sweep(root: Path, grace_s: float = _GRACE_S) -> int:
    """Stop every process that carries the mark of `root`; returns how many there were at first.

    Asks them to end, kills what is still there after `grace_s`; on return none is left.
    """
    survivors = find(root)
    for pid in survivors:
        _end(pid, kill=False)
    if not await_none(root, grace_s):
        for pid in find(root):
            _end(pid, kill=True)
        await_none(root, grace_s)
    return len(survivors)


def await_none(root: Path, patience_s: float) -> bool:
    """Wait until no process carries the mark of `root`; False if some still does after `patience_s`."""
    deadline = time.monotonic() + patience_s
    while find(root):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def _end(pid: int, *, kill: bool) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.kill() if kill else process.terminate()
