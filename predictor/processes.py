"""A parent and its workers: as many processes as asked for, each forked before anything runs that a fork would break.

The parent is this module, a few sockets and nothing else: no thread, no event loop, no client, and none of the libraries that
start threads when they are imported. So it can fork at any time, also to replace a worker that died.

Place in the flow: `__main__` runs it where more than one process is asked for; what a worker does is not known here.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from loguru import logger

from runtime.retry import pauses

GIVE_UP = os.EX_CONFIG  # a worker that ends so would end so again: then all end
SETTLED_S = 30.0  # who lived as long did not fail at its start, and is replaced without delay
_STOP = (signal.SIGTERM, signal.SIGINT)
_HEARD = (*_STOP, signal.SIGCHLD)
_FOREVER_S = 3600.0

Work = Callable[[int, int], int]  # number of the worker, lifeline; returns its exit code


@dataclass
class _Worker:
    """A place for a process; `pid` is None while there is none."""

    number: int
    pid: int | None = None
    begun_s: float = 0.0
    due_s: float = 0.0
    waits: Iterator[float] = field(default_factory=pauses)


class Workers:
    """`count` processes that do `work`, kept alive until a signal. `grace_s`: how long they may take to end.

    Each is given a lifeline, a file that ends when the parent does: so none outlives a parent that was killed.
    """

    def __init__(self, count: int, work: Work, grace_s: float) -> None:
        self._work = work
        self._grace_s = grace_s
        self._workers = [_Worker(number) for number in range(count)]
        self._lifeline, self._mine = os.pipe()
        self._end_by_s: float | None = None
        self._code = 0

    def run(self) -> int:
        """Until all have ended after SIGTERM or SIGINT: returns 0; or after one that gave up: returns 1."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
        try:
            while self._end_by_s is None or self._alive():
                self._start_due()
                heard = signal.sigtimedwait(_HEARD, self._until_next_s())
                if heard is not None and heard.si_signo in _STOP:
                    self._stop(signal.Signals(heard.si_signo).name)
                self._reap()
                self._kill_late()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._code

    def _alive(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid is not None]

    def _start_due(self) -> None:
        if self._end_by_s is not None:
            return
        for worker in self._workers:
            if worker.pid is None and worker.due_s <= time.monotonic():
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        pid = os.fork()
        if pid == 0:
            self._be(worker.number)
        worker.pid, worker.begun_s = pid, time.monotonic()
        logger.bind(worker=worker.number, pid=pid).info("a worker starts")

    def _be(self, number: int) -> None:
        """What the forked process does instead of the parent's work; never returns."""
        code = 1
        try:
            os.close(self._mine)
            for each in _HEARD:
                signal.signal(each, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
            code = self._work(number, self._lifeline)
        except Exception as error:  # noqa: BLE001  nothing may get out of here: the parent's stack is below
            logger.opt(exception=error).error("a worker failed: {}", error)
        finally:
            logger.complete()
            os._exit(code)

    def _reap(self) -> None:
        for worker in self._alive():
            pid, status = os.waitpid(worker.pid or 0, os.WNOHANG)
            if pid:
                worker.pid = None
                self._ended(worker, pid, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: _Worker, pid: int, code: int) -> None:
        told = logger.bind(worker=worker.number, pid=pid, code=code)
        if self._end_by_s is not None:
            told.info("a worker ended")
        elif code == GIVE_UP:
            told.error("a worker cannot run as it is set up; all end")
            self._code = 1
            self._stop("SIGTERM")
        else:
            self._replace_later(worker)
            told.warning("a worker ended; another takes its place in {:.1f} s", max(worker.due_s - time.monotonic(), 0.0))

    @staticmethod
    def _replace_later(worker: _Worker) -> None:
        now_s = time.monotonic()
        if now_s - worker.begun_s >= SETTLED_S:
            worker.waits, worker.due_s = pauses(), now_s
        else:
            worker.due_s = now_s + next(worker.waits)

    def _stop(self, why: str) -> None:
        if self._end_by_s is None:
            logger.info("{}: the workers end", why)
            self._end_by_s = time.monotonic() + self._grace_s
        self._signal(signal.SIGTERM)

    def _kill_late(self) -> None:
        if self._end_by_s is not None and time.monotonic() >= self._end_by_s and self._alive():
            logger.warning("workers did not end within {:g} s and are killed", self._grace_s)
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """To processes that were not waited for yet, so that no number can have become another's."""
        for worker in self._alive():
            os.kill(worker.pid or 0, number)

    def _until_next_s(self) -> float:
        """Seconds until something is due: a worker, or the end of the grace."""
        due = [worker.due_s for worker in self._workers if worker.pid is None and self._end_by_s is None]
        due += [] if self._end_by_s is None else [self._end_by_s]
        return max(min(due, default=time.monotonic() + _FOREVER_S) - time.monotonic(), 0.01)
