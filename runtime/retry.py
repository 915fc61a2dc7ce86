"""Waiting for what a process cannot do without: exponential backoff, and a log line that says what is waited for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from loguru import logger

from runtime.errors import AccessRefused, Unavailable

T = TypeVar("T")

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0  # a part that comes back is noticed within this time
GROWTH = 2.0


def pauses() -> Iterator[float]:
    """Seconds between attempts: doubling from FIRST_PAUSE_S up to LONGEST_PAUSE_S, without end."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)


def wait_for(attempt: Callable[[], T], *, sleep: Callable[[float], None] = time.sleep) -> T:
    """Call `attempt` until it no longer raises `Unavailable`; returns what it returns. Waits for ever.

    Raises `AccessRefused` at once, and logs its remedy: whoever made the setting is to hear of it, and no account gets locked.
    """
    for pause_s in pauses():
        try:
            return attempt()
        except AccessRefused as error:
            logger.error("{}; {}", error, error.remedy)
            raise
        except Unavailable as error:
            logger.bind(part=error.part, pause_s=pause_s).warning("waiting: {}", error)
            sleep(pause_s)
    raise AssertionError("pauses() is endless")


async def wait_for_async(attempt: Callable[[], Awaitable[T]]) -> T:
    """As `wait_for`, for a coroutine function."""
    for pause_s in pauses():
        try:
            return await attempt()
        except AccessRefused as error:
            logger.error("{}; {}", error, error.remedy)
            raise
        except Unavailable as error:
            logger.bind(part=error.part, pause_s=pause_s).warning("waiting: {}", error)
            await asyncio.sleep(pause_s)
    raise AssertionError("pauses() is endless")
