"""Models that score in shadow: the features of the champion's answers, after they were given, for nobody but the prediction log.

Place in the flow: `handlers` offers every answer after it has given it; `run` is a task of the process. Rows wait in a bounded
queue, and go to each shadow's model in one call for many, in a thread. A shadow that is behind drops rows, and one that fails
loses them: both are counted and neither is felt by a request.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from loguru import logger
from prometheus_client import CollectorRegistry, Counter

from feature_repo.labels import LEVELS
from feature_repo.predictions import LoggedPrediction
from predictor.messages import Answer, Serving
from predictor.model import ServedModel, are_probabilities
from runtime.clock import Clock

CALL_ROWS = 256  # a call holds the interpreter's lock for some of its time: more at once would delay answers
GATHER_S = 0.05  # rows of this time share a call; a shadow has nobody waiting

AGREED, DISAGREED, DROPPED, FAILED = "agreed", "disagreed", "dropped", "failed"


class PredictionLog(Protocol):
    """Where what a shadow made of an answer's features is logged."""

    def put(self, entry: LoggedPrediction) -> None:
        """Take the entry, or drop and count it; never blocks, never raises."""
        ...


@dataclass(frozen=True)
class _Row:
    """An answer, a shadow that is to score its features, and when the answer was given."""

    shadow: Serving
    answer: Answer
    served_at: datetime


class Shadow:
    """A queue of at most `capacity` rows and the worker that empties it. Counts by alias and outcome in `registry`."""

    def __init__(self, log: PredictionLog, clock: Clock, registry: CollectorRegistry, capacity: int) -> None:
        self._log = log
        self._clock = clock
        self._capacity = capacity
        self._rows: deque[_Row] = deque()
        self._waiting = asyncio.Event()
        self._told: ServedModel | None = None
        self._counts = Counter(
            "habitus_predictor_shadow_rows",
            "rows for shadow models: agreed or disagreed with the champion's level, dropped, failed",
            ["alias", "outcome"],
            registry=registry,
        )

    def offer(self, answers: Iterable[Answer]) -> None:
        """Let the shadows of the answers' models score them some time; never blocks, never raises. On the event loop only."""
        for answer in answers:
            for shadow in answer.serving.shadows:
                self._add(shadow, answer)

    async def run(self) -> None:
        """Score what was offered. Ends by cancellation, which loses what waits."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(GATHER_S)
            await self.score_waiting()

    async def score_waiting(self) -> None:
        """Score the next `CALL_ROWS` rows that wait: a call for each model among them."""
        batch = [self._rows.popleft() for _ in range(min(CALL_ROWS, len(self._rows)))]
        if not self._rows:
            self._waiting.clear()
        batch.sort(key=lambda row: id(row.shadow.model))
        for _, rows in groupby(batch, key=lambda row: id(row.shadow.model)):
            await self._score(list(rows))

    def _add(self, shadow: Serving, answer: Answer) -> None:
        if len(self._rows) >= self._capacity:
            self._count(shadow, DROPPED)
            return
        self._rows.append(_Row(shadow, answer, self._clock.now()))
        self._waiting.set()

    async def _score(self, rows: list[_Row]) -> None:
        try:
            entries = await asyncio.to_thread(_scored, rows)
        except Exception as error:  # noqa: BLE001
            # A foreign pipeline fails with whatever its parts raise, and answers whatever it likes; nobody waits for it.
            self._fail(rows, error)
            return
        for row, entry in zip(rows, entries, strict=True):
            self._count(row.shadow, AGREED if entry["obesity_level"] == row.answer.level else DISAGREED)
            self._log.put(entry)

    def _fail(self, rows: Sequence[_Row], error: Exception) -> None:
        shadow = rows[0].shadow
        self._count(shadow, FAILED, len(rows))
        if self._told is not shadow.model:  # else it fails many times a second
            self._told = shadow.model
            told = logger.bind(alias=str(shadow.alias), version=shadow.model.version)
            told.warning("a shadow fails, its failures are counted: {}: {}", type(error).__name__, error)

    def _count(self, shadow: Serving, outcome: str, rows: int = 1) -> None:
        self._counts.labels(str(shadow.alias), outcome).inc(rows)


def _scored(rows: Sequence[_Row]) -> list[LoggedPrediction]:
    """The entries of rows of one model; with their making, which is for a thread as well."""
    model = rows[0].shadow.model
    inputs = [_inputs(row) for row in rows]
    found = model.score(inputs)
    if not are_probabilities(found).all():
        raise ValueError("it answers what are no probabilities")
    return [_entry(row, each, scored) for row, each, scored in zip(rows, inputs, found, strict=True)]


def _inputs(row: _Row) -> dict[str, Any]:
    values = {**row.answer.further, **row.answer.inputs}
    return {name: values[name] for name in row.shadow.model.inputs}


def _entry(row: _Row, inputs: Mapping[str, Any], found: npt.NDArray[np.float64]) -> LoggedPrediction:
    scored = replace(
        row.answer,
        level=LEVELS[int(found.argmax())],
        probabilities=dict(zip(LEVELS, found.tolist(), strict=True)),
        serving=row.shadow,
        inputs=inputs,
        further={},
    )
    return scored.log_entry(row.served_at, shadow=True)
