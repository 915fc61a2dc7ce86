"""Waiting until the labels of a drifted stretch have come: enough of them, and no more coming."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from loguru import logger

from runtime.errors import NotEnoughData

POLL_S = 1.0


@dataclass(frozen=True)
class Patience:
    """How many labels are needed, how long none may have been added, and when waiting ends."""

    least: int
    settle_s: float
    deadline_s: float


def wait_for_labels(
    count: Callable[[], int],
    patience: Patience,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> int:
    """The number of labels once `least` have come and none was added for `settle_s`, or at the deadline if `least` are there.

    Raises `NotEnoughData`, saying how many are missing, if they are not there at the deadline.
    """
    started = changed = monotonic()
    seen = count()
    logger.bind(labels=seen, needed=patience.least).info("waiting for labels of the drifted stretch")
    while (now := monotonic()) < started + patience.deadline_s:
        if seen >= patience.least and now - changed >= patience.settle_s:
            return seen
        sleep(POLL_S)
        found = count()
        seen, changed = found, changed if found == seen else monotonic()
    if seen >= patience.least:
        return seen
    raise NotEnoughData(
        f"{seen} labelled rows since the drift after {patience.deadline_s:g} s of waiting, {patience.least} are needed",
        remedy="publish labels of the drifted records; the next alert tries again",
    )
