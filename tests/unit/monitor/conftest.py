"""A made population, its reference, rows of the stream and a monitor on fakes."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from feature_repo.labels import LEVELS
from feature_repo.person import ATTRIBUTES
from feature_repo.reference import OUT_OF_FOLD, ROWS, Reference, build_reference
from monitor.champion import Champion
from monitor.comparison import Rule
from monitor.handlers import Monitor, Received
from monitor.progress import Progress
from monitor.rows import FeatureRow
from runtime.clock import FixedClock
from runtime.events import DriftAlert

# Evidently's own import warns of half a dozen deprecations in its dependencies; what we do with it afterwards must not warn.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import evidently.metrics
    import evidently.presets  # noqa: F401

START = datetime(2025, 1, 1, tzinfo=UTC)
TRAINING_ROWS = 3_000

Population = Callable[..., pd.DataFrame]


def make_population(rows: int, *, seed: int = 0, weight_scale: float = 1.0, start: datetime = START) -> pd.DataFrame:
    """Made persons, one record each, a minute apart from `start` on."""
    draw = np.random.default_rng(seed)
    columns = {
        "gender": draw.choice(["Female", "Male"], rows),
        "age_years": draw.gamma(6, 4, rows).clip(14, 80).round(),
        "height_m": draw.normal(1.7, 0.09, rows).clip(1.4, 2.0),
        "weight_kg": draw.normal(85, 18, rows).clip(40, 160) * weight_scale,
        "family_history_overweight": draw.random(rows) < 0.8,
        "high_caloric_food": draw.random(rows) < 0.9,
        "vegetable_frequency": draw.uniform(1, 3, rows),
        "main_meals_per_day": draw.choice([1.0, 3.0, 4.0], rows, p=[0.2, 0.7, 0.1]),
        "snacking_frequency": draw.choice(["no", "Sometimes", "Frequently", "Always"], rows, p=[0.03, 0.8, 0.13, 0.04]),
        "smokes": draw.random(rows) < 0.02,
        "water_intake": draw.uniform(1, 3, rows),
        "monitors_calories": draw.random(rows) < 0.04,
        "physical_activity_frequency": draw.uniform(0, 3, rows),
        "technology_use": draw.uniform(0, 2, rows),
        "alcohol_frequency": draw.choice(["no", "Sometimes", "Frequently"], rows, p=[0.3, 0.65, 0.05]),
        "transport": draw.choice(["Automobile", "Public_Transportation", "Walking"], rows, p=[0.2, 0.77, 0.03]),
    }
    assert set(columns) == set(ATTRIBUTES)
    return pd.DataFrame(columns).assign(
        person_id=[f"p{seed}-{number}" for number in range(rows)],
        event_timestamp=[start + timedelta(minutes=number) for number in range(rows)],
        obesity_level=draw.choice(LEVELS, rows),
    )


def make_champion(folder: Path, version: str = "1", rows: int = TRAINING_ROWS) -> Champion:
    """A champion with the files that the trainer writes; its training rows end `rows` minutes after START."""
    trained = make_population(rows, seed=99)
    reference = build_reference(trained, trained["obesity_level"], trained["event_timestamp"])
    reference.save(folder)
    identity = ["person_id", "event_timestamp", "obesity_level"]
    trained[[*identity, *ATTRIBUTES]].to_parquet(folder / ROWS)
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(LEVELS)), rows)
    guesses = pd.DataFrame(probabilities, columns=[f"p_{level}" for level in LEVELS])
    pd.concat([trained[identity], guesses], axis=1).to_parquet(folder / OUT_OF_FOLD)
    return Champion(version, Reference.load(folder), folder)


def make_received(frame: pd.DataFrame, first_offset: int = 0) -> list[Received]:
    """The rows of `frame` as they arrive from partition 0, each from the record with the same offset."""
    return [
        Received(
            FeatureRow(
                fields["person_id"],
                fields["event_timestamp"].to_pydatetime(),
                "person.records-0",
                offset,
                {name: fields[name] for name in ATTRIBUTES},
            ),
            0,
            offset,
        )
        for offset, fields in enumerate(frame.to_dict("records"), start=first_offset)
    ]


@dataclass
class FakeCheckpoints:
    """Remembers the last commit."""

    positions: dict[int, int] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)

    def commit(self, positions: Mapping[int, int], progress: Progress) -> None:
        self.positions |= positions
        self.progress = Progress.decode(progress.encode())


@dataclass
class FakeAlerts:
    """Keeps what was sent; fails once if told to."""

    sent: list[DriftAlert] = field(default_factory=list)

    def send(self, alert: DriftAlert) -> None:
        self.sent.append(alert)


@dataclass
class Bench:
    """A monitor of small windows on fakes."""

    champion: Champion
    size: int = 500
    quiet_windows: int = 2
    checkpoints: FakeCheckpoints = field(default_factory=FakeCheckpoints)
    alerts: FakeAlerts = field(default_factory=FakeAlerts)

    def start(self) -> Monitor:
        """A process that starts, or starts again, where the checkpoints are."""
        return Monitor(
            self.champion,
            Rule(0.001, 0.005),
            self.size,
            self.quiet_windows,
            self.checkpoints,
            self.alerts,
            FixedClock(START),
            self.checkpoints.progress,
        )

    def unread(self, rows: Sequence[Received]) -> list[Received]:
        """What Kafka gives from the committed offset on."""
        return [received for received in rows if received.offset >= self.checkpoints.positions.get(0, 0)]


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Champion:
    return make_champion(tmp_path_factory.mktemp("reference"))


@pytest.fixture
def bench(champion: Champion) -> Bench:
    return Bench(champion)


@pytest.fixture(scope="session")
def population() -> Population:
    return make_population


@pytest.fixture(scope="session")
def received() -> Callable[..., list[Received]]:
    return make_received


@pytest.fixture(scope="session")
def after_training() -> datetime:
    """A time that no training row reaches."""
    return START + timedelta(days=30)
