"""Fakes of what the predictor's core stands on, and builders of what it is given."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from feature_repo.materialise import Located, materialise
from feature_repo.online.reader import OnlineRow
from feature_repo.person import parse_record, resolve_time
from feature_repo.predictions import LoggedPrediction
from feature_repo.temporal import PersonState
from predictor.handlers import Parts
from predictor.messages import Answer, Serving
from predictor.model import ServedModel, admit
from predictor.shelf import Shelf
from runtime.clock import FixedClock
from runtime.errors import HabitusError, ModelRefused, Unavailable, UnknownModel
from tests.fake_registry import FakeSource, HandClock, version

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECORD: dict[str, object] = {
    "gender": "Female",
    "age_years": 30.0,
    "height_m": 1.7,
    "weight_kg": 70.0,
    "smokes": False,
    "transport": "Walking",
}


class FakeClassifier:
    """Answers by weight, and puts its own mark in front, so that every answer tells which classifier gave it."""

    def __init__(self, mark: float = 0.5, classes: Sequence[str] = LEVELS) -> None:
        self.classes_ = list(classes)
        self.mark = mark
        self.calls: list[int] = []

    def predict_proba(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        self.calls.append(len(frame))
        found = np.zeros((len(frame), len(self.classes_)))
        found[:, self.classes_.index(LEVELS[0])] = self.mark
        share = np.nan_to_num(frame["weight_kg"].to_numpy()) / 1000 * (1 - self.mark)
        found[:, self.classes_.index(LEVELS[1])] = share
        found[:, self.classes_.index(LEVELS[2])] = 1 - self.mark - share
        return found


@dataclass
class FakeReader:
    """A store in memory, which can be down; notes every read."""

    rows: dict[str, OnlineRow] = field(default_factory=dict)
    down: bool = False
    reads: list[tuple[str, ...]] = field(default_factory=list)

    async def read(
        self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False
    ) -> list[OnlineRow | None]:
        self.reads.append(tuple(person_ids))
        if self.down:
            raise Unavailable("redis", "gone")
        found = [self.rows.get(person_id) for person_id in person_ids]
        return [None if row is None else _narrowed(row, features, with_state=with_state) for row in found]


def _narrowed(row: OnlineRow, features: Sequence[str], *, with_state: bool) -> OnlineRow:
    stored = row.values  # noqa: PD011  no frame
    values = {name: stored[name] for name in features}
    return replace(row, values=values, state=row.state if with_state else None)


@dataclass
class FakeShelf:
    """Models by alias; a missing champion is not there yet, another missing alias is unknown."""

    by_alias: dict[str, ServedModel | HabitusError]

    async def find(self, alias: str) -> Serving:
        found = self.by_alias.get(alias, UnknownModel(alias))
        if isinstance(found, HabitusError):
            raise found
        return Serving(found, alias)


@dataclass
class ListLog:
    """A prediction log that keeps what it is given."""

    entries: list[LoggedPrediction] = field(default_factory=list)

    def put(self, entry: LoggedPrediction) -> None:
        self.entries.append(entry)


@dataclass
class ListShadows:
    """Shadows that keep what they are offered."""

    answers: list[Answer] = field(default_factory=list)

    def offer(self, answers: Iterable[Answer]) -> None:
        self.answers += answers


def model_of(classifier: Any, *, version: str = "1", inputs: Sequence[str] = FEATURE_NAMES) -> ServedModel:
    """An admitted model over `classifier`."""
    return admit(classifier, inputs, name="obesity-level", version=version, loaded_at=NOW)


def stored_row(*records: dict[str, Any], person_id: str = "p1", first_offset: int = 10) -> OnlineRow:
    """What the stream stores of a person after these records, a day apart, the last one an hour before NOW."""
    located = []
    for position, fields in enumerate(records):
        at = NOW - timedelta(hours=1) - timedelta(days=len(records) - 1 - position)
        record = resolve_time(parse_record({"person_id": person_id, **RECORD, **fields}).record, at)
        located.append(Located(record, "person.records", 2, first_offset + position, at))
    table, states = materialise(located, {})
    row = table.to_pylist()[-1]
    values = {name: row[name] for name in FEATURE_NAMES}
    return OnlineRow(
        values, row["event_timestamp"], row["source_topic"], row["source_partition"], row["source_offset"], states[person_id]
    )


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def record() -> dict[str, object]:
    return dict(RECORD)


@pytest.fixture
def classifier() -> FakeClassifier:
    return FakeClassifier()


@pytest.fixture
def make_classifier() -> type[FakeClassifier]:
    return FakeClassifier


@pytest.fixture
def make_model() -> Callable[..., ServedModel]:
    return model_of


@pytest.fixture
def stored() -> Callable[..., OnlineRow]:
    return stored_row


@pytest.fixture
def reader() -> FakeReader:
    return FakeReader({"p1": stored_row({}, {"weight_kg": 71.0})})


@pytest.fixture
def log() -> ListLog:
    return ListLog()


@pytest.fixture
def models(classifier: FakeClassifier) -> FakeShelf:
    return FakeShelf({"champion": model_of(classifier)})


@pytest.fixture
def parts(reader: FakeReader, models: FakeShelf, log: ListLog, shadows: ListShadows) -> Parts:
    return Parts(reader, models, log, FixedClock(NOW), shadows)


@pytest.fixture
def empty_state() -> PersonState:
    return PersonState()


@pytest.fixture
def source() -> FakeSource:
    """A registry whose champion is version 1; 1 to 8 answer their number in tenths, 9 is refused."""
    marks = {str(number): model_of(FakeClassifier(number / 10), version=str(number)) for number in range(1, 9)}
    return FakeSource({"champion": version(1)}, marks | {"9": ModelRefused("bad")})


@pytest.fixture
def hand_clock() -> HandClock:
    return HandClock()


@pytest.fixture
def shelf(source: FakeSource, hand_clock: HandClock) -> Shelf:
    return Shelf(source, hand_clock)


@pytest.fixture
def shadows() -> ListShadows:
    return ListShadows()
