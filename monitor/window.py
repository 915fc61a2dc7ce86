"""A tumbling window: integer counts of the rows of one stretch, at most one row a person.

Place in the flow: `handlers` fills it and closes it when it is full; `habitus drift` fills one from the history. Counts are
integers in the reference's bins, so those of two windows add up to those of both, and the order of rows does not matter to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from feature_repo.person import ATTRIBUTES
from feature_repo.reference import Counts, Reference
from monitor.rows import FeatureRow

_COUNTED_AT_ONCE = 250  # rows; counting many together costs a fraction of counting each


def merge(one: Mapping[str, Counts], other: Mapping[str, Counts]) -> dict[str, Counts]:
    """The counts of both, by feature."""
    return {name: one[name] + other[name] for name in one}


def nothing(reference: Reference) -> dict[str, Counts]:
    """The counts of no row."""
    return {feature.name: np.zeros(len(feature.counts), dtype=np.int64) for feature in reference.features}


@dataclass
class Window:
    """The open window of up to `size` persons, compared with `reference` when it is full."""

    reference: Reference
    size: int
    persons: set[str] = field(default_factory=set)
    earliest: datetime | None = None
    latest: datetime | None = None
    _counted: dict[str, Counts] = field(default_factory=dict)
    _waiting: list[Mapping[str, object]] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether no further row fits."""
        return len(self.persons) >= self.size

    def __len__(self) -> int:
        return len(self.persons)

    def add(self, row: FeatureRow) -> bool:
        """Count `row` unless its person is in the window already; tells whether it counted."""
        if row.person_id in self.persons:
            return False
        self.persons.add(row.person_id)
        self.earliest = min(self.earliest or row.event_timestamp, row.event_timestamp)
        self.latest = max(self.latest or row.event_timestamp, row.event_timestamp)
        self._waiting.append(row.attributes)
        if len(self._waiting) >= _COUNTED_AT_ONCE:
            self._count()
        return True

    def counts(self) -> dict[str, Counts]:
        """The counts of all rows so far, by feature."""
        self._count()
        return self._counted

    def _count(self) -> None:
        self._counted = self._counted or nothing(self.reference)
        if self._waiting:
            frame = pd.DataFrame(self._waiting, columns=list(ATTRIBUTES), dtype=object)
            self._counted = merge(self._counted, self.reference.counts(frame))
            self._waiting = []
