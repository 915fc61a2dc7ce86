"""What the health service says: SERVING while Redis answers and a champion is loaded, NOT_SERVING otherwise.

Place in the flow: a task of the process; logs what is waited for whenever that changes. Kafka has no say: without it only the
prediction log is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from loguru import logger

from runtime.errors import Unavailable

PERIOD_S = 1.0  # a part that goes or comes back is noticed within this time, and Redis's answer timeout


class Say(Protocol):
    """Tells the health service."""

    async def __call__(self, *, serving: bool) -> None:
        """Answer SERVING or NOT_SERVING from now on."""
        ...


async def missing(ping: Callable[[], Awaitable[None]], has_champion: Callable[[], bool]) -> tuple[str, ...]:
    """The parts that the predictor cannot serve without and lacks."""
    lacks = [] if has_champion() else ["model"]
    try:
        await ping()
    except Unavailable as error:
        lacks.append(error.part)
    return tuple(lacks)


async def watch(
    ping: Callable[[], Awaitable[None]], has_champion: Callable[[], bool], say: Say, period_s: float = PERIOD_S
) -> None:
    """Keep the health service true. Ends by cancellation."""
    before: tuple[str, ...] | None = None
    while True:
        lacks = await missing(ping, has_champion)
        if lacks != before:
            await say(serving=not lacks)
            logger.log("WARNING" if lacks else "INFO", "waiting for {}" if lacks else "serving", ", ".join(lacks))
        before = lacks
        await asyncio.sleep(period_s)
