"""Made rows and fakes for the trainer's tests: a population whose level follows from its body mass index."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from feature_repo.labels import LEVELS
from feature_repo.materialise import Located, materialise
from feature_repo.person import PersonRecord
from runtime.clock import FixedClock
from runtime.events import ModelEvent
from runtime.registry import MODEL_NAME, ModelVersion
from trainer.candidate import Candidate, tags
from trainer.handlers import Workshop
from trainer.pipeline import Recipe
from trainer.promote import Promotion
from trainer.settings import TrainerSettings
from trainer.training_set import TrainingSet
from trainer.waiting import Patience

START = datetime(2024, 7, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
BMI_LIMITS = (18.5, 25.0, 27.5, 30.0, 35.0, 40.0)

MakeRows = Callable[..., pd.DataFrame]


def made_rows(count: int, *, seed: int = 0, start: datetime = START, prefix: str = "p", scale: float = 1.0) -> pd.DataFrame:
    """`count` labelled feature rows, one a person; weights read `scale` times too high, labels tell the truth."""
    random = np.random.default_rng(seed)
    bmis, heights = random.uniform(16, 44, count), random.uniform(1.5, 2.0, count)
    records = [
        PersonRecord(
            person_id=f"{prefix}-{number}",
            event_timestamp=start + timedelta(minutes=number),
            gender=str(random.choice(["Female", "Male"])),
            age_years=float(random.uniform(16, 60)),
            height_m=float(heights[number]),
            weight_kg=float(scale * bmis[number] * heights[number] ** 2),
            transport=str(random.choice(["Walking", "Automobile"])) if number % 5 else None,
        )
        for number in range(count)
    ]
    located = [Located(each, "person.records", 0, offset, START) for offset, each in enumerate(records)]
    levels = [LEVELS[int(np.searchsorted(BMI_LIMITS, bmi))] for bmi in bmis]
    table, _ = materialise(located, {})
    return table.to_pandas().assign(obesity_level=levels)


@pytest.fixture
def make_rows() -> MakeRows:
    return made_rows


@pytest.fixture
def recipe() -> Recipe:
    """A small model, quick to fit."""
    return Recipe(columns_share=1.0, rounds=20, learning_rate=0.3, leaves=7)


class FakeRegistry:
    """A registry in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, ModelVersion] = {}
        self.aliases: dict[str, str] = {}

    def add(self, **tagged: str) -> ModelVersion:
        number = str(len(self.kept) + 1)
        self.kept[number] = ModelVersion(MODEL_NAME, number, "run", "", NOW, (), tagged)
        return self.kept[number]

    def by_version(self, version: str) -> ModelVersion | None:
        found = self.kept.get(version)
        return found and replace(found, aliases=tuple(a for a, v in self.aliases.items() if v == version))

    def by_alias(self, alias: str) -> ModelVersion | None:
        return self.by_version(self.aliases.get(alias, ""))

    def versions(self) -> list[ModelVersion]:
        return [each for number in reversed(self.kept) if (each := self.by_version(number))]

    def set_alias(self, alias: str, version: str) -> None:
        self.aliases[alias] = version

    def remove_alias(self, alias: str) -> None:
        self.aliases.pop(alias, None)

    def set_tag(self, version: str, key: str, value: str) -> None:
        self.kept[version].tags[key] = value


class FakeAnnouncer:
    """Remembers what was announced."""

    def __init__(self) -> None:
        self.events: list[ModelEvent] = []

    def announce(self, event: ModelEvent) -> bool:
        self.events.append(event)
        return True

    @property
    def types(self) -> list[str]:
        return [event.type for event in self.events]


@dataclass
class FakeModels:
    """Keeps candidates in memory, under the registry's numbers."""

    registry: FakeRegistry
    candidates: dict[str, Candidate] = field(default_factory=dict)

    def register(self, candidate: Candidate, facts: dict[str, str]) -> ModelVersion:
        version = self.registry.add(**tags(candidate), **facts)
        self.candidates[version.version] = candidate
        return version

    def load(self, version: ModelVersion) -> Pipeline:
        return self.candidates[version.version].pipeline


@dataclass
class FakeHistory:
    """A history of labelled rows in memory."""

    rows: pd.DataFrame

    def labels(self, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:
        known = self.rows[self.rows["ingested_at"] <= as_of]
        return known if since is None else known[known["event_timestamp"] >= since]

    def training_set(self, as_of: datetime) -> TrainingSet:
        return TrainingSet(self.labels(as_of).reset_index(drop=True), as_of)


def count_once(count: Callable[[], int], patience: Patience) -> int:
    """Waits for nothing."""
    assert count() >= patience.least
    return count()


@dataclass
class Shop:
    """A workshop of fakes, and the fakes."""

    workshop: Workshop
    registry: FakeRegistry
    announcer: FakeAnnouncer
    models: FakeModels
    history: FakeHistory


@pytest.fixture
def open_shop(settings_for: Callable[..., Any]) -> Callable[..., Shop]:
    """A function that opens a workshop of fakes over these rows: `open_shop(rows, **settings)`."""

    def make(rows: pd.DataFrame, **overrides: Any) -> Shop:
        registry, announcer, clock = FakeRegistry(), FakeAnnouncer(), FixedClock(NOW)
        settings = settings_for(TrainerSettings, **({"trainer_workers": 1} | overrides))
        models, history = FakeModels(registry), FakeHistory(rows)
        promotion = Promotion(registry, announcer, clock)
        workshop = Workshop(settings, history, models, registry, promotion, clock, wait=count_once)
        return Shop(workshop, registry, announcer, models, history)

    return make


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def announcer() -> FakeAnnouncer:
    return FakeAnnouncer()
