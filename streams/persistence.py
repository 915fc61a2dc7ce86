"""Retrying an effect a bounded number of times: what still fails then stops the process, and nothing was acknowledged.

Every effect that is retried is idempotent: published again, it is deduplicated by source offset; written again, it changes
nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from runtime.errors import InfrastructureError
from runtime.retry import pauses

T = TypeVar("T")


@dataclass(frozen=True)
class Attempt:
    """One try of an effect that came to an end, well or with an error."""

    what: str
    seconds: float
    failed: bool


@dataclass(frozen=True)
class Persistence:
    """How often an effect is tried. `sleep` answers whether the worker was asked to stop meanwhile; `told` hears of each try."""

    attempts: int
    sleep: Callable[[float], object] = time.sleep
    told: Callable[[Attempt], None] = lambda _: None

    def do(self, effect: Callable[[], T], what: str, where: object) -> T:
        """What `effect` returns; `what` and `where` (topic[partition]@offset) name it in the log.

        Raises the last `InfrastructureError` when `attempts` were in vain, or when the worker is to stop. Other errors are not
        retried.
        """
        for attempt, pause_s in enumerate(pauses(), start=1):
            try:
                return self._try(effect, what)
            except InfrastructureError as error:
                told = logger.bind(attempt=attempt, attempts=self.attempts, at=str(where))
                if attempt >= self.attempts:
                    told.error("{} of {} failed for good: {}", what, where, error)
                    raise
                told.warning("{} of {} failed, again in {} s: {}", what, where, pause_s, error)
                if self.sleep(pause_s):
                    told.warning("{} of {} is given up: the worker is to stop", what, where)
                    raise
        raise AssertionError("pauses() is endless")

    def _try(self, effect: Callable[[], T], what: str) -> T:
        started, failed = time.perf_counter(), True
        try:
            done = effect()
            failed = False
            return done
        finally:
            self.told(Attempt(what, time.perf_counter() - started, failed))
