"""What is compared, as promises; `streams.verify` puts the real things here, tests put fakes.

The order of looking makes the comparison exact while workers go on. The watermark is read first: what it covers must be
online from then on. Then the online store, then the history's end: a worker writes the history before the online store, so
the end covers all that was seen online. A person who moved on between is compared as of the record that the own state names.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from feature_repo.online.reader import OnlineRow
from streams.messages import Message, Shard


@dataclass(frozen=True)
class Unreadable:
    """What is stored of a person cannot be read, and why."""

    why: str


Stored = OnlineRow | Unreadable


class HistorySide(Protocol):
    """The history in the epoch that readers read."""

    def end(self, topic: str, partition: int) -> int | None:
        """The last offset that it covers."""
        ...

    def read_files(self, topic: str, partition: int) -> Iterator[tuple[pa.Table, frozenset[str]]]:
        """The rows of each file, in order, and the columns that the file was written without."""
        ...


class LogSide(Protocol):
    """The raw log. Raises `Unavailable`."""

    def end(self, shard: Shard) -> int:
        """The offset that the next message will get."""
        ...

    def acknowledged(self, shard: Shard) -> int | None:
        """The last offset that the workers have acknowledged."""
        ...

    def read(self, shard: Shard, first: int, end: int) -> Iterator[list[Message]]:
        """The messages from `first` up to, not with, `end`, in order, some at a time."""
        ...


class OnlineSide(Protocol):
    """The online store. Raises `Unavailable`."""

    def watermark(self, shard: Shard) -> int | None:
        """The last offset whose rows are all stored. Raises `EpochSuperseded` if that of a newer epoch is stored."""
        ...

    async def persons(self) -> set[str]:
        """Everybody who is stored; who is there all the time that this takes is among them."""
        ...

    async def read(self, persons: Sequence[str]) -> list[Stored | None]:
        """What is stored of each, in their order, with the fold's state."""
        ...
