"""What the handlers need of the world, as promises; `bootstrap` puts the real things on the shelf, tests put fakes.

Place in the flow: between `handlers` and the adapters. Whatever is published is acknowledged when the call returns.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from feature_repo.offline.epochs import Plan
from feature_repo.offline.history import OffsetRange
from feature_repo.schemas import Dataset
from feature_repo.temporal import PersonState
from runtime.clock import Clock
from streams.letters.dead_letters import DeadLetter
from streams.messages import Message, Shard
from streams.persistence import Persistence


@dataclass(frozen=True)
class Outgoing:
    """A message to publish; `timestamp_ms` None is the time of sending."""

    key: bytes
    value: bytes
    timestamp_ms: int | None = None


class EpochsLike(Protocol):
    """The ledger of a dataset's epochs: see `feature_repo.offline.epochs.Epochs`."""

    def written(self) -> int:
        """The epoch that workers extend."""
        ...

    def current(self) -> int:
        """The epoch that readers read."""
        ...

    def planned(self) -> Plan | None:
        """The plan of an epoch above the written one: of a backfill that has begun and opened nothing yet."""
        ...

    def plan(self, plan: Plan) -> None:
        """Record what the rows of a new epoch will hold. Raises `HistoryConflict` if that epoch is planned already."""
        ...

    def open(self, epoch: int) -> None:
        """From now on workers extend `epoch`."""
        ...

    def publish(self, epoch: int) -> None:
        """From now on readers read `epoch`."""
        ...

    def finish(self, epoch: int) -> None:
        """Nothing is left to do of the backfill into `epoch`."""
        ...

    def finished(self) -> int:
        """The greatest epoch whose backfill left nothing to do."""
        ...

    def plan_of(self, epoch: int) -> Plan | None:
        """What the rows of `epoch` hold; None for the first one, which nobody planned."""
        ...

    def log_of(self, epoch: int, topic: str) -> str | None:
        """The id of the topic that `epoch` is made from; None if none is recorded."""
        ...

    def bind_log(self, epoch: int, topic: str, log_id: str) -> str:
        """Record that `epoch` is made from the topic with `log_id`, if none is recorded; returns the recorded one."""
        ...


class HistoryLike(Protocol):
    """The append-only record of one dataset: see `feature_repo.offline.history.History`."""

    @property
    def dataset(self) -> Dataset:
        """Whose history it is."""
        ...

    @property
    def epochs(self) -> EpochsLike:
        """The ledger of its epochs."""
        ...

    def at(self, epoch: int) -> "HistoryLike":
        """The history in one epoch."""
        ...

    def end(self, topic: str, partition: int) -> int | None:
        """The last offset that the history covers."""
        ...

    def append(self, rows: pa.Table, offsets: OffsetRange, first_timestamp: datetime) -> None:
        """Publish `rows` durably under `offsets`. Raises `HistoryConflict` if another owner extended the same end."""
        ...

    def accepted(self, topic: str, partition: int, first: int, last: int) -> set[int]:
        """The offsets from `first` to `last` that have a row. Raises `BrokenHistory` if a file of theirs is lost or torn."""
        ...

    def read_after(self, topic: str, partition: int, offset: int | None = None) -> Iterator[pa.Table]:
        """The rows above `offset`, in order."""
        ...


class OnlineLike(Protocol):
    """The online store: see `feature_repo.online.rows.OnlineWriter`. Every method raises `Unavailable`."""

    def at(self, epoch: int) -> "OnlineLike":
        """The store as a writer of `epoch` sees it."""
        ...

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        """The stored states of those persons who have one."""
        ...

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        """Store the newest row and the state of each person in `rows`; what is stored already stays."""
        ...

    def watermark(self, topic: str, partition: int) -> int | None:
        """The last offset whose rows are all stored. Raises `EpochSuperseded` if that of a newer epoch is stored."""
        ...

    def server(self, topic: str, partition: int) -> str:
        """The identity of the server that holds the watermark now: another one after a restart or a failover."""
        ...

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int, server: str) -> bool:
        """State that all rows up to `offset` are stored.

        False, and nothing is stated, if the watermark is no longer `known`, or the server no longer `server`.
        """
        ...

    def remove_older(self, epoch: int) -> int:
        """Remove rows and states of persons of whom nothing of `epoch` is stored; returns of how many."""
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

    def read(self, shard: Shard, first: int, end: int) -> Iterator[list[Message]]:
        """The messages from offset `first` up to, not with, `end`, in order, some at a time. Raises `Unavailable`."""
        ...

    def acknowledged(self, shard: Shard) -> int | None:
        """The last offset that the workers have acknowledged; None without one. Raises `Unavailable`."""
        ...

    def log_id(self, topic: str) -> str:
        """Kafka's id of the topic, another one if it is deleted and made anew. Raises `Unavailable`."""
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
    epoch: int = 0

    def at(self, epoch: int) -> "Shelf":
        """The shelf with features and online store as a writer of `epoch` sees them."""
        return replace(self, epoch=epoch, features=self.features.at(epoch), online=self.online.at(epoch))


Row = dict[str, Any]
