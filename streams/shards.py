"""What a worker knows of the partitions it owns: how far the history of each reaches.

Place in the flow: filled at assignment, moved on by the handlers, forgotten at revocation, when another worker may extend the
history.
"""

from collections.abc import Iterable

from runtime.errors import HabitusError, InfrastructureError
from streams.messages import Batch, Shard
from streams.shelf import HistoryLike, SourceLog

NOTHING = -1  # the end of an empty history


class HistoryOfAnotherLog(HabitusError):
    """The history covers offsets that the topic never had: the topic was deleted and made anew, or belongs to another Kafka."""

    def __init__(self, shard: Shard, end: int) -> None:
        super().__init__(
            f"the history of {shard} reaches to offset {end}, the topic does not",
            remedy="give it a history and an online store of its own (HABITUS_OFFLINE_URI, HABITUS_PROJECT), or restore it",
        )


class Shards:
    """Ends of the histories of one dataset, by shard."""

    def __init__(self, history: HistoryLike, source: SourceLog) -> None:
        self.history = history
        self._source = source
        self._ends: dict[Shard, int] = {}

    def end(self, shard: Shard) -> int:
        """The last offset that the history covers, NOTHING if it is empty; read from the history once an assignment.

        Raises `HistoryOfAnotherLog`, or `Unavailable` if Kafka does not answer.
        """
        if shard not in self._ends:
            self._ends[shard] = self._read_end(shard)
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
                    remedy="the worker starts again from the last acknowledged message; if this comes back, the history has lost "
                    f"its end: restore it, or set the consumer group back to offset {expected}",
                )
            expected = message.offset + 1

    def _read_end(self, shard: Shard) -> int:
        end = self.history.end(shard.topic, shard.partition)
        if end is None:
            return NOTHING
        if end >= self._source.end(shard):
            raise HistoryOfAnotherLog(shard, end)
        return end

    def _lies_between(self, shard: Shard, first: int, end: int) -> bool:
        if first == end:
            return False
        found = self._source.next_offset(shard, first)
        return found is not None and found < end
