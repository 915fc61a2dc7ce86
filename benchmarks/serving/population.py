"""Simulated persons in Redis, written by the project's own writer, as the stream does it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import pyarrow as pa

from feature_repo.materialise import Located, materialise
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.person import parse_record, resolve_time
from feature_repo.temporal import PersonState
from habitus.data.identity import Stretch
from habitus.data.simulator import simulate
from runtime.settings import Settings

TOPIC, PARTITION = "person.records", 0
_BATCH = 1_000
_SEED = 11
_NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Population:
    """The feature rows of persons as they are stored, one row a person, and the fold's state after each."""

    rows: pa.Table
    states: dict[str, PersonState]

    @property
    def person_ids(self) -> list[str]:
        """All persons, in the order of their rows."""
        names: list[str] = self.rows["person_id"].to_pylist()
        return names


def simulated(persons: int, *, seed: int = _SEED, first_offset: int = 0) -> Population:
    """`persons` persons with one record each, whose first one has the offset `first_offset`."""
    drawn = simulate(persons, persons=persons, seed=seed, stretch=Stretch.named("history"))
    return materialised(drawn.drop(columns="event_timestamp").to_dict("records"), _NOON, first_offset)


def materialised(records: Sequence[Any], at: datetime, first_offset: int = 0) -> Population:
    """The feature rows of records that were published at `at`, one a person."""
    parsed = [resolve_time(parse_record(fields).record, at) for fields in records]
    located = [Located(each, TOPIC, PARTITION, first_offset + number, at) for number, each in enumerate(parsed)]
    return Population(*materialise(located, {}))


def store(population: Population, settings: Settings) -> None:
    """Write the rows of `population` online."""
    with connect(settings) as client:
        writer = OnlineWriter(client, settings.project)
        for start in range(0, population.rows.num_rows, _BATCH):
            writer.apply(population.rows.slice(start, _BATCH), population.states)


def features(population: Population) -> pd.DataFrame:
    """The feature rows as a frame."""
    frame: pd.DataFrame = population.rows.to_pandas()
    return frame
