"""The clock, injected wherever time matters, so that tests set it. Times are aware and UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The present, aware, UTC."""
        return datetime.now(UTC)


@dataclass
class FixedClock:
    """A clock that stands at `at` until it is set."""

    at: datetime

    def now(self) -> datetime:
        """`at`."""
        return self.at
