"""What a worker knows of the partitions it owns: how far the history of each reaches.

Place in the flow: filled at assignment, moved on by the handlers, forgotten at revocation, when another worker may extend the
history.
"""

from collections.abc import Iterable

from runtime.errors import InfrastructureError
from streams.messages import Batch, Shard
from streams.shelf import HistoryLike, SourceLog

NOTHING = -1  # the end of an empty history


class Shards:
    """Ends of the histories of one dataset, by shard."""

    def __init__(self, history: HistoryLike, source: SourceLog) -> None:
        self.history = history
        self._source = source
        self._ends: dict[Shard, int] = {}

    def end(self, shard: Shard) -> int:
        """The last offset that the history covers, NOTHING if it is empty; read from the history once an assignment."""
        if shard not in self._ends:
            end = self.history.end(shard.topic, shard.partition)
            self._ends[shard] = NOTHING if end is None else end
        return self._ends[shard]

    def move(self, shard: Shard, end: int) -> None:
        """The history now reaches to `end`."""
        self._ends[shard] = end

    def forget(self, shards: Iterable[Shard]) -> None:
        """Read the ends of `shards` anew when they are next needed."""
        for shard in shards:
            self._ends.pop(shard, None)

    def require_no_hole(self, batch: Batch) -> None:
        """Check that no message lies between the history's end and the batch, nor inside it.

        A history file covers its whole range, so a message that was not delivered would be lost for ever. Offsets may be
        missing in the log itself (a transaction's markers); then nothing lies there. Raises `InfrastructureError`.
        """
        expected = self.end(batch.shard) + 1
        if batch.first == expected and batch.last - expected + 1 == len(batch.messages):
            return
        for message in batch.messages:
            if message.offset < expected or self._lies_between(batch.shard, expected, message.offset):
                raise InfrastructureError(
                    f"{message} was delivered where {batch.shard}@{expected} was due",
                    remedy="none is needed: the worker starts again from the last acknowledged message",
                )
            expected = message.offset + 1

    def _lies_between(self, shard: Shard, first: int, end: int) -> bool:
        if first == end:
            return False
        found = self._source.next_offset(shard, first)
        return found is not None and found < end
