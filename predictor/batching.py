"""Single requests gathered into batches: those that arrive while a batch is on its way become the next one.

Nobody waits while there is nothing to wait for: with no batch on its way a request goes at once, together with those that came
in the same turn of the event loop. So the busier the server, the larger the batches, and the less each request costs.

Place in the flow: a transport submits its requests one by one; `handlers.predict` answers batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from loguru import logger

from predictor.handlers import Outcome
from predictor.messages import PredictionRequest
from runtime.errors import HabitusError

# While one batch is on its way the next one gathers. A second one on its way would make both smaller: one processor computes.
ON_THEIR_WAY = 1
LARGEST_BATCH = 64
QUIET_TURNS = 8  # measured: from eight on batches grow no more, and a lone request is no slower

Predict = Callable[[Sequence[PredictionRequest | HabitusError]], Awaitable[list[Outcome]]]


class Batcher:
    """Gathers what is submitted on one event loop, and answers it with `predict`."""

    def __init__(self, predict: Predict, *, on_their_way: int = ON_THEIR_WAY, largest: int = LARGEST_BATCH) -> None:
        self._predict = predict
        self._free = on_their_way
        self._largest = largest
        self._waiting: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_due = False

    @property
    def waiting(self) -> int:
        """How many requests are on no batch yet."""
        return len(self._waiting)

    async def submit(self, request: PredictionRequest | HabitusError) -> Outcome:
        """The outcome of the request.

        Whoever is cancelled before the batch left is not in it; a batch that nobody waits for any more ends.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(request, loop.create_future())
        self._waiting.append(waiting)
        if not self._is_due and self._free:
            self._is_due = True
            loop.call_soon(self._when_quiet, len(self._waiting), 0)
        return await waiting.outcome

    def _when_quiet(self, before: int, quiet: int) -> None:
        """Send off once a few turns of the loop brought no more: gRPC takes up one call a turn, however many there are."""
        if len(self._waiting) > before:
            quiet = 0
        if quiet < QUIET_TURNS and len(self._waiting) < self._largest:
            asyncio.get_running_loop().call_soon(self._when_quiet, len(self._waiting), quiet + 1)
        else:
            self._send_off()

    def _send_off(self) -> None:
        self._is_due = False
        while self._free and (batch := self._next()):
            self._free -= 1
            task = asyncio.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._came_back)
            _end_when_nobody_waits(batch, task)

    def _next(self) -> "list[_Waiting]":
        batch: list[_Waiting] = []
        while self._waiting and len(batch) < self._largest:
            waiting = self._waiting.popleft()
            if not waiting.outcome.done():
                batch.append(waiting)
        return batch

    async def _answer(self, batch: "Sequence[_Waiting]") -> None:
        try:
            found = await self._predict([each.request for each in batch])
        except BaseException as error:
            for each in batch:
                if not each.outcome.done():
                    each.outcome.set_exception(error)
            raise
        for each, outcome in zip(batch, found, strict=True):
            if not each.outcome.done():
                each.outcome.set_result(outcome)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free += 1
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("a batch failed as a whole: {}", error)
        self._send_off()


@dataclass(frozen=True, slots=True)
class _Waiting:
    request: PredictionRequest | HabitusError
    outcome: asyncio.Future[Outcome]


def _end_when_nobody_waits(batch: Sequence[_Waiting], task: asyncio.Task[None]) -> None:
    here = len(batch)

    def left(outcome: asyncio.Future[Outcome]) -> None:
        nonlocal here
        if outcome.cancelled():
            here -= 1
            if not here:
                task.cancel()

    for each in batch:
        each.outcome.add_done_callback(left)
