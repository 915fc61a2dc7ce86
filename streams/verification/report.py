"""What a verification found: how many persons were compared, where two of the three differ, and how fresh each partition is.

Place in the flow: made by `streams.verify`, printed by `habitus verify`, exported by `metrics`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Pair(StrEnum):
    """Which two are compared. Of the history each row is, of the online store each person."""

    ONLINE_HISTORY = "online_history"
    HISTORY_RECOMPUTED = "history_recomputed"
    STATE_RECOMPUTED = "state_recomputed"


class Kind(StrEnum):
    """What is wrong with the first of a pair, the second taken as the truth."""

    MISMATCHED = "mismatched"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True)
class Counts:
    """Differences of one pair: persons for the online store's pairs, rows for the history's."""

    mismatched: int = 0
    missing: int = 0
    extra: int = 0


@dataclass(frozen=True)
class Freshness:
    """How far a partition is: ends are the last offset's (None: there is none), ages by the messages' timestamps, in seconds."""

    partition: int
    log_end: int | None
    history_end: int | None
    watermark: int | None
    unapplied: int
    oldest_unapplied_s: float | None = None
    newest_applied_s: float | None = None


@dataclass(frozen=True)
class Report:
    """How many persons were checked, and how many differ anywhere: other values, missing, or there without a reason.

    `positions` counts watermarks and ends that contradict one another; `messages` of the raw log were read, `rows` came of them,
    `rejected` did not become rows.
    """

    checked: int
    mismatched: int
    missing: int
    extra: int
    positions: int = 0
    pairs: Mapping[str, Counts] = field(default_factory=dict)
    freshness: tuple[Freshness, ...] = ()
    messages: int = 0
    rows: int = 0
    rejected: int = 0
    epoch: int = 0
    seconds: float = 0.0
    examples: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not (self.mismatched or self.missing or self.extra or self.positions)

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self) | {"holds": self.holds}
