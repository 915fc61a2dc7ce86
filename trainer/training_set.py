"""Training sets: which labels count, and which of their rows may be trained on.

Place in the flow: `adapters/history.py` reads labels and lets Feast join the features; handlers take
training and gate rows from here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.gate import is_gate
from feature_repo.labels import LEVELS
from feature_repo.latest import IDENTITY, counted_labels
from runtime.errors import NotEnoughData

LEVEL = "obesity_level"
_REMEDY = "publish more records and labels (`habitus replay`), then train again"


def latest_labels(labels: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """The labels that counted at `as_of`: of each (person_id, event_timestamp) the one with the greatest (ingested_at, offset).

    Returns the columns person_id, event_timestamp and obesity_level, in time order, so that the same labels give the same rows.
    """
    latest = counted_labels(labels, as_of)
    return latest.sort_values(["event_timestamp", "person_id"], ignore_index=True)[[*IDENTITY, LEVEL]]


@dataclass(frozen=True)
class TrainingSet:
    """Labelled feature rows as they were known at `as_of`, in time order; labels whose record is not there are only counted."""

    rows: pd.DataFrame
    as_of: datetime
    labels_without_features: int = 0

    def training(self, since: datetime | None = None) -> pd.DataFrame:
        """The rows that models may see, of event times from `since` on."""
        return self._part(~self._gate, since)

    def gate(self, since: datetime | None = None) -> pd.DataFrame:
        """The rows that no model ever sees, of event times from `since` on."""
        return self._part(self._gate, since)

    @property
    def _gate(self) -> npt.NDArray[np.bool_]:
        return is_gate(self.rows["person_id"])

    def _part(self, members: npt.NDArray[np.bool_], since: datetime | None) -> pd.DataFrame:
        start = since or datetime.min.replace(tzinfo=UTC)
        chosen = members & (self.rows["event_timestamp"] >= start).to_numpy()
        return self.rows[chosen].reset_index(drop=True)


def require_enough(rows: pd.DataFrame, *, least: int, folds: int) -> None:
    """Raise `NotEnoughData` unless there are `least` rows and `folds` persons of every level, saying what is missing."""
    if len(rows) < least:
        raise NotEnoughData(f"{len(rows)} labelled rows outside the gate, training needs {least}", remedy=_REMEDY)
    found = person_counts(rows)
    short = [f"{level}: {count}" for level, count in found.items() if count < folds]
    if short:
        raise NotEnoughData(f"every level needs {folds} persons, one a fold; there are {', '.join(short)}", remedy=_REMEDY)


def require_persons(rows: pd.DataFrame, folds: int) -> None:
    """Raise `NotEnoughData` unless `rows` are of at least `folds` persons: a person's rows stay in one fold."""
    persons = rows["person_id"].nunique()
    if persons < folds:
        raise NotEnoughData(f"{folds} folds need as many persons with labelled rows, there are {persons}", remedy=_REMEDY)


def person_counts(rows: pd.DataFrame) -> dict[str, int]:
    """How many persons have rows of each level, in the order of `LEVELS`."""
    return level_counts(list(rows.drop_duplicates(["person_id", LEVEL])[LEVEL]))


def level_counts(levels: Sequence[str]) -> dict[str, int]:
    """How many rows each level has, in the order of `LEVELS`."""
    found = Counter(levels)
    return {level: found[level] for level in LEVELS}
