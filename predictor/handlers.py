"""What happens to a batch of prediction requests, in order.

drop who waits no more -> check each -> find its model -> read what is stored of the persons (one round trip) -> features
-> score (one call a model) -> log -> shadow; whoever watches hears how long it took

Place in the flow: a transport hands requests in and answers out; adapters do the effects. A request that cannot be answered
becomes its own error and the rest go on. Single predictions are batches of one.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt
from loguru import logger

from feature_repo.labels import LEVELS
from feature_repo.materialise import event_time, inline_row
from feature_repo.online.reader import OnlineRow
from feature_repo.person import ATTRIBUTES, PersonRecord, parse_record, resolve_time
from feature_repo.predictions import LoggedPrediction
from predictor.checking import check, in_time, person_of
from predictor.messages import Answer, FeatureOrigin, PredictionRequest, Serving
from predictor.model import ServedModel, are_probabilities
from runtime.clock import Clock
from runtime.errors import HabitusError, InvalidRequest, StaleFeatures, Unavailable, UnknownPerson, Violation

BATCH_LIMIT = 1_000
# Up to so many rows are computed on the event loop: 64 take compiled trees three milliseconds. More go to a thread.
LOOP_ROWS = 64
# A record needs a person to be valid. This one stands in for nobody: it is never looked up, stored or logged.
NOBODY = "-"


Outcome = Answer | HabitusError
Floats = npt.NDArray[np.float64]
T = TypeVar("T")
R = TypeVar("R")


class FeatureReader(Protocol):
    """What is stored of persons."""

    async def read(
        self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False
    ) -> list[OnlineRow | None]:
        """Rows in the order of `person_ids`, None where nothing is stored. Raises `Unavailable`."""
        ...


class ModelShelf(Protocol):
    """The models that serve."""

    async def find(self, alias: str) -> Serving:
        """What serves under `alias`. Raises `UnknownModel`, `ModelRefused` or `Unavailable`."""
        ...


class PredictionLog(Protocol):
    """Where answers are logged."""

    def put(self, entry: LoggedPrediction) -> None:
        """Take the entry, or drop and count it; never blocks, never raises."""
        ...


class Shadows(Protocol):
    """The models that score in shadow."""

    def offer(self, answers: Iterable[Answer]) -> None:
        """Let the shadows of the answers' models score them some time; never blocks, never raises."""
        ...


class Stages(NamedTuple):
    """Seconds that the steps of a batch took: reading what is stored, features and scores, log and shadow."""

    read_s: float
    compute_s: float
    log_s: float


class Watching(Protocol):
    """Who hears of batches."""

    def answered(self, outcomes: Sequence[Outcome], took: Stages, now: datetime) -> None:
        """A batch that came at `now` has its outcomes; never blocks, never raises. On the event loop only."""
        ...


class NobodyWatches:
    """Hears of batches and does nothing."""

    def answered(self, outcomes: Sequence[Outcome], took: Stages, now: datetime) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Parts:
    """What predictions are made with."""

    reader: FeatureReader
    models: ModelShelf
    log: PredictionLog
    clock: Clock
    shadow: Shadows
    watching: Watching = field(default_factory=NobodyWatches)


@dataclass(frozen=True)
class _Job:
    """A valid request, the person whose stored features it needs ("" for nobody), and the model that answers it."""

    request: PredictionRequest
    person_id: str
    serving: Serving


@dataclass(frozen=True)
class _Featured:
    """A job with the features of its person, or of its record, or of both."""

    job: _Job
    values: Mapping[str, Any]
    event_timestamp: datetime
    stored: OnlineRow | None


async def predict(requests: Sequence[PredictionRequest | HabitusError], parts: Parts) -> list[Outcome]:
    """An outcome for each request, in their order: its answer or its own error. Every answer went to the log.

    A request that no transport could read comes as its error and stays it.

    Raises `InvalidRequest` for more than `BATCH_LIMIT` requests.
    """
    if len(requests) > BATCH_LIMIT:
        raise InvalidRequest(Violation("requests", f"{len(requests)} in one batch, the limit is {BATCH_LIMIT}"))
    now = parts.clock.now()
    checked = _each(check, _each(lambda request: in_time(request, now), requests))
    serving = await _find_models(_fit(checked), parts.models)
    jobs = _each(lambda request: _job(request, _or_raise(serving[request.model_alias])), checked)
    began_s = perf_counter()
    stored = await _read(_fit(jobs), parts.reader)
    read_s = perf_counter()
    if len(jobs) <= LOOP_ROWS:
        outcomes = _compute(jobs, stored, now)
    else:
        outcomes = await asyncio.to_thread(_compute, jobs, stored, now)
    computed_s = perf_counter()
    for answer in _fit(outcomes):
        parts.log.put(answer.log_entry(now))
    parts.shadow.offer(_fit(outcomes))
    parts.watching.answered(outcomes, Stages(read_s - began_s, computed_s - read_s, perf_counter() - computed_s), now)
    return outcomes


def _job(request: PredictionRequest, serving: Serving) -> _Job:
    person_id = person_of(request)
    return _Job(request, person_id, serving.for_person(person_id))


async def _find_models(requests: Iterable[PredictionRequest], models: ModelShelf) -> dict[str, Serving | HabitusError]:
    """What serves under each alias asked for: looked up once, so that no batch mixes versions of an alias."""
    found: dict[str, Serving | HabitusError] = {}
    for alias in dict.fromkeys(request.model_alias for request in requests):
        try:
            found[alias] = await models.find(alias)
        except HabitusError as error:
            found[alias] = error
    return found


async def _read(jobs: Sequence[_Job], reader: FeatureReader) -> dict[str, OnlineRow | None] | Unavailable:
    """What is stored of every person that the jobs need, in one round trip; the error if the store does not answer."""
    persons = list(dict.fromkeys(job.person_id for job in jobs if job.person_id))
    if not persons:
        return {}
    inline = any(job.request.record is not None for job in jobs)
    servings = {id(job.serving): job.serving for job in jobs}.values()
    names = dict.fromkeys(name for each in servings for name in (*each.model.inputs, *each.further_inputs))
    features = [*names, *(name for name in ATTRIBUTES if inline and name not in names)]
    try:
        rows = await reader.read(persons, features, with_state=inline)
    except Unavailable as error:
        return error
    return dict(zip(persons, rows, strict=True))


def _compute(
    jobs: Sequence[_Job | HabitusError], stored: Mapping[str, OnlineRow | None] | Unavailable, now: datetime
) -> list[Outcome]:
    featured = _each(lambda job: _featured(job, stored, now), jobs)
    outcomes = iter(_score(_fit(featured)))
    return [each if isinstance(each, HabitusError) else next(outcomes) for each in featured]


def _featured(job: _Job, stored: Mapping[str, OnlineRow | None] | Unavailable, now: datetime) -> _Featured:
    """The job's features. Raises `Unavailable`, `UnknownPerson`, `StaleFeatures` or `RecordRejected`."""
    if job.person_id and isinstance(stored, Unavailable):
        raise stored
    known = stored.get(job.person_id) if not isinstance(stored, Unavailable) else None
    if known is not None and job.request.person_id:
        _refuse_stale(job, now - known.event_timestamp)
    if job.request.record is not None:
        record = _merged_record(job, known, now)
        row = inline_row(record, known.state if known else None)
        return _Featured(job, row, event_time(record), known)
    if known is None or known.expired:
        raise UnknownPerson(job.person_id)
    return _Featured(job, known.values, known.event_timestamp, known)


def _refuse_stale(job: _Job, age: timedelta) -> None:
    limit = job.request.max_feature_age
    if limit is not None and age > limit:
        raise StaleFeatures(job.person_id, age, limit)


def _merged_record(job: _Job, known: OnlineRow | None, now: datetime) -> PersonRecord:
    """The record of the request, validated as the stream would; over the stored attributes where the request names the person.

    A record alone is taken as it stands, as if it had been published: what it leaves out is missing.
    """
    given = dict(job.request.record or {})
    if known is not None and job.request.person_id:
        attributes = {name: known.values[name] for name in ATTRIBUTES if known.values[name] is not None}
        given = attributes | given
    given.setdefault("person_id", job.request.person_id or NOBODY)
    return resolve_time(parse_record(given).record, now)


def _score(featured: Sequence[_Featured]) -> list[Outcome]:
    """Outcomes in the order of `featured`; one call for each model among them."""
    answers: dict[int, Outcome] = {}
    for model in {id(each.job.serving.model): each.job.serving.model for each in featured}.values():
        mine = [position for position, each in enumerate(featured) if each.job.serving.model is model]
        values = [featured[position].values for position in mine]
        for position, row in zip(mine, _probabilities(model, values), strict=True):
            answers[position] = row if isinstance(row, HabitusError) else _answer(featured[position], row)
    return [answers[position] for position in range(len(featured))]


def _probabilities(model: ServedModel, rows: Sequence[Mapping[str, Any]]) -> Iterable[Floats | Unavailable]:
    """The model's probabilities of each row; an error in place of what is none, which costs that row alone."""
    failed = Unavailable("model", f"{model.name} version {model.version} gives no probabilities for this")
    try:
        found = model.score(rows)
    except Exception as error:  # noqa: BLE001  a registered pipeline fails with whatever its parts raise
        logger.bind(version=model.version).error("the model failed: {}: {}", type(error).__name__, error)
        return [failed] * len(rows)
    if model.compiled is not None:  # a softmax of finite sums
        return found
    return [row if is_sound else failed for row, is_sound in zip(found, are_probabilities(found), strict=True)]


def _answer(featured: _Featured, row: Floats) -> Answer:
    job, stored = featured.job, featured.stored
    inputs = {name: featured.values[name] for name in job.serving.model.inputs}
    return Answer(
        request_id=job.request.request_id or uuid4().hex,
        person_id=job.person_id,
        level=LEVELS[int(row.argmax())],
        probabilities=dict(zip(LEVELS, row.tolist(), strict=True)),
        serving=job.serving,
        origin=FeatureOrigin(
            event_timestamp=featured.event_timestamp,
            defaults_used=tuple(name for name, value in inputs.items() if value is None),
            source_topic=None if stored is None else stored.source_topic,
            source_partition=None if stored is None else stored.source_partition,
            source_offset=None if stored is None else stored.source_offset,
        ),
        inputs=inputs,
        further={name: featured.values[name] for name in job.serving.further_inputs},
    )


def _each(step: Callable[[T], R], items: Sequence[T | HabitusError]) -> list[R | HabitusError]:
    """`step` of every item that is no error; what it raises takes the item's place."""
    return [item if isinstance(item, HabitusError) else _attempt(step, item) for item in items]


def _attempt(step: Callable[[T], R], item: T) -> R | HabitusError:
    try:
        return step(item)
    except HabitusError as error:
        return error


def _fit(items: Sequence[T | HabitusError]) -> list[T]:
    return [item for item in items if not isinstance(item, HabitusError)]


def _or_raise(found: T | HabitusError) -> T:
    if isinstance(found, HabitusError):
        raise found
    return found
