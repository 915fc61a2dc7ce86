"""A message as it came from a topic, and a batch of them cut by partition.

Place in the flow: `app` makes them from Faust's events; everything after it knows only these.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Feast joins with pandas, whose nanosecond times end in 2262.
LATEST_TIME = datetime(2262, 1, 1, tzinfo=UTC)
EARLIEST_TIME = _EPOCH

Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True)
class Shard:
    """One partition of one topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]"


@dataclass(frozen=True, slots=True)
class Message:
    """One message: where it stands, when its producer stamped it (milliseconds since 1970), and its bytes."""

    shard: Shard
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    def __str__(self) -> str:
        return f"{self.shard}@{self.offset}"

    @property
    def has_usable_time(self) -> bool:
        """Whether the timestamp lies between EARLIEST_TIME and LATEST_TIME."""
        return 0 <= self.timestamp_ms < (LATEST_TIME - _EPOCH) // timedelta(milliseconds=1)

    @property
    def time(self) -> datetime:
        """The timestamp, aware; EARLIEST_TIME where it is unusable (such a message is rejected)."""
        return _EPOCH + timedelta(milliseconds=self.timestamp_ms) if self.has_usable_time else EARLIEST_TIME

    def header(self, name: str) -> str | None:
        """The last header of that name as text, None without one."""
        found = [value for key, value in self.headers if key == name]
        return found[-1].decode(errors="replace") if found else None


@dataclass(frozen=True)
class Batch:
    """Consecutive messages of one shard, in the order of their offsets; never empty."""

    shard: Shard
    messages: Sequence[Message]

    @property
    def first(self) -> int:
        """The first message's offset."""
        return self.messages[0].offset

    @property
    def last(self) -> int:
        """The last message's offset."""
        return self.messages[-1].offset

    def after(self, offset: int) -> "Batch | None":
        """What lies above `offset`; None if nothing does."""
        rest = [message for message in self.messages if message.offset > offset]
        return replace(self, messages=rest) if rest else None

    def __str__(self) -> str:
        return f"{self.shard}@{self.first}-{self.last}"


def by_shard(messages: Iterable[Message]) -> list[Batch]:
    """The messages cut by shard, each part in the order given."""
    parts: dict[Shard, list[Message]] = {}
    for message in messages:
        parts.setdefault(message.shard, []).append(message)
    return [Batch(shard, part) for shard, part in parts.items()]


def gathered(parts: Iterable[Sequence[Message]], size: int) -> Iterator[list[Message]]:
    """`parts` joined, in order, into lists of at least `size` messages; the last one may be shorter."""
    whole: list[Message] = []
    for part in parts:
        whole += part
        if len(whole) >= size:
            yield whole
            whole = []
    if whole:
        yield whole
