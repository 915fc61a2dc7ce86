"""Single requests gathered into batches: those that arrive while a batch is on its way become the next one.

Nobody waits while there is nothing to wait for: with no batch on its way a request goes at once, together with those that came
in the same turn of the event loop. So the busier the server, the larger the batches, and the less each request costs.

Place in the flow: a transport submits its requests one by one; `handlers.predict` answers batches.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from loguru import logger

from predictor.handlers import Outcome
from predictor.messages import PredictionRequest
from runtime.errors import HabitusError

# One batch reads while another one computes; a third would only be smaller batches.
ON_THEIR_WAY = 2
LARGEST_BATCH = 64

Predict = Callable[[Sequence[PredictionRequest | HabitusError]], Awaitable[list[Outcome]]]


class Batcher:
    """Gathers what is submitted on one event loop, and answers it with `predict`."""

    def __init__(self, predict: Predict, *, on_their_way: int = ON_THEIR_WAY, largest: int = LARGEST_BATCH) -> None:
        self._predict = predict
        self._free = on_their_way
        self._largest = largest
        self._waiting: deque[tuple[PredictionRequest | HabitusError, asyncio.Future[Outcome]]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_due = False

    @property
    def waiting(self) -> int:
        """How many requests are on no batch yet."""
        return len(self._waiting)

    async def submit(self, request: PredictionRequest | HabitusError) -> Outcome:
        """The outcome of the request. Whoever is cancelled before the batch left is not in it."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Outcome] = loop.create_future()
        self._waiting.append((request, outcome))
        if not self._is_due and self._free:
            self._is_due = True
            loop.call_soon(self._send_off)
        return await outcome

    def _send_off(self) -> None:
        self._is_due = False
        while self._free and (batch := self._next()):
            self._free -= 1
            task = asyncio.create_task(self._answer(batch))
            self._tasks.add(task)
            task.add_done_callback(self._came_back)

    def _next(self) -> list[tuple[PredictionRequest | HabitusError, asyncio.Future[Outcome]]]:
        batch: list[tuple[PredictionRequest | HabitusError, asyncio.Future[Outcome]]] = []
        while self._waiting and len(batch) < self._largest:
            request, outcome = self._waiting.popleft()
            if not outcome.done():
                batch.append((request, outcome))
        return batch

    async def _answer(self, batch: list[tuple[PredictionRequest | HabitusError, asyncio.Future[Outcome]]]) -> None:
        try:
            found = await self._predict([request for request, _ in batch])
        except BaseException as error:
            for _, outcome in batch:
                if not outcome.done():
                    outcome.set_exception(error)
            raise
        for (_, outcome), answer in zip(batch, found, strict=True):
            if not outcome.done():
                outcome.set_result(answer)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._free += 1
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.opt(exception=error).error("a batch failed as a whole: {}", error)
        self._send_off()
