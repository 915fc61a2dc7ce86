"""What the handlers need of the world, as promises; `bootstrap` puts the real things on the shelf, tests put fakes.

Place in the flow: between `handlers` and the adapters. Whatever is published is acknowledged when the call returns.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from feature_repo.history import OffsetRange
from feature_repo.schemas import Dataset
from feature_repo.temporal import PersonState
from runtime.clock import Clock
from streams.dead_letters import DeadLetter
from streams.messages import Shard
from streams.persistence import Persistence


@dataclass(frozen=True)
class Outgoing:
    """A message to publish; `timestamp_ms` None is the time of sending."""

    key: bytes
    value: bytes
    timestamp_ms: int | None = None


class HistoryLike(Protocol):
    """The append-only record of one dataset: see `feature_repo.history.History`."""

    dataset: Dataset

    def end(self, topic: str, partition: int) -> int | None:
        """The last offset that the history covers."""
        ...

    def append(self, rows: pa.Table, offsets: OffsetRange, first_timestamp: datetime) -> Path:
        """Publish `rows` durably under `offsets`. Raises `HistoryConflict` if another owner extended the same end."""
        ...

    def read_after(self, topic: str, partition: int, offset: int | None = None) -> Iterator[pa.Table]:
        """The rows above `offset`, in order."""
        ...


class OnlineLike(Protocol):
    """The online store: see `feature_repo.online.OnlineWriter`. Every method raises `Unavailable`."""

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        """The stored states of those persons who have one."""
        ...

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        """Store the newest row and the state of each person in `rows`; what is stored already stays."""
        ...

    def watermark(self, topic: str, partition: int) -> int | None:
        """The last offset whose rows are all stored."""
        ...

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int) -> bool:
        """State that all rows up to `offset` are stored; False if the watermark is no longer `known`, then nothing is stated."""
        ...


class Publisher(Protocol):
    """Publishes to Kafka. Returns when the brokers have acknowledged everything; raises `Unavailable` if they do not."""

    def dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """Publish dead letters of the source `topic`, values cut where no broker would take them whole."""
        ...

    def labels(self, labels: Sequence[Outgoing]) -> None:
        """Publish labels that came inside records."""
        ...

    def features(self, rows: Sequence[Outgoing]) -> None:
        """Publish feature rows."""
        ...


class SourceLog(Protocol):
    """The topics that are read."""

    def end(self, shard: Shard) -> int:
        """The offset that the next message will get. Raises `Unavailable`."""
        ...

    def next_offset(self, shard: Shard, offset: int) -> int | None:
        """The offset of the first message at or above `offset`; None if there is none. Raises `Unavailable`."""
        ...


@dataclass(frozen=True)
class Shelf:
    """All of it."""

    features: HistoryLike
    labels: HistoryLike
    predictions: HistoryLike
    online: OnlineLike
    publisher: Publisher
    source: SourceLog
    partitions: Mapping[str, int]  # of each topic that is read
    clock: Clock
    app_version: str
    persistence: Persistence


Row = dict[str, Any]
