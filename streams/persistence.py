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
class Persistence:
    """How often an effect is tried."""

    attempts: int
    sleep: Callable[[float], None] = time.sleep

    def do(self, effect: Callable[[], T], what: str, where: object) -> T:
        """What `effect` returns; `what` and `where` (topic[partition]@offset) name it in the log.

        Raises the last `InfrastructureError` when `attempts` were in vain. Other errors are not retried.
        """
        for attempt, pause_s in enumerate(pauses(), start=1):
            try:
                return effect()
            except InfrastructureError as error:
                told = logger.bind(attempt=attempt, attempts=self.attempts, at=str(where))
                if attempt >= self.attempts:
                    told.error("{} of {} failed for good: {}", what, where, error)
                    raise
                told.warning("{} of {} failed, again in {} s: {}", what, where, pause_s, error)
                self.sleep(pause_s)
        raise AssertionError("pauses() is endless")
