"""What a worker knows of the partitions it owns: the epoch it writes, and how far the history of each partition reaches.

Place in the flow: filled at assignment, moved on by the handlers, forgotten at revocation, when another worker may extend the
history, and when a backfill opens a new epoch.
"""

from collections.abc import Iterable, Iterator

from loguru import logger

from feature_repo.features import FEATURE_NAMES
from feature_repo.temporal import STATE_VERSION
from runtime.errors import EpochSuperseded, HabitusError
from streams.messages import Batch, Message, Shard
from streams.shelf import HistoryLike, SourceLog

NOTHING = -1  # the end of an empty history


class HistoryOfAnotherLog(HabitusError):
    """The history was made from another log: the topic was deleted and made anew, or belongs to another Kafka."""

    def __init__(self, shard: Shard, why: str) -> None:
        super().__init__(
            f"the history of {shard} is of another log: {why}",
            remedy="`habitus backfill` makes history and online store anew from what person.records holds now; for other topics, "
            "or to keep both, set HABITUS_OFFLINE_URI and HABITUS_PROJECT to new ones",
        )


class EpochOfNewerCode(HabitusError):
    """The epoch was made by a version of the code that knows more than this one."""

    def __init__(self, epoch: int, app_version: str, unknown: Iterable[str]) -> None:
        told = ", ".join(sorted(unknown)) or "another state of the fold"
        super().__init__(
            f"epoch {epoch} was made by habitus {app_version} and has what this version does not know: {told}",
            remedy="upgrade this worker; until then others do its work",
        )


class LedgerSetBack(HabitusError):
    """The online store is in an epoch that the ledger does not know: the offline store was set back to before a backfill."""

    def __init__(self, superseded: EpochSuperseded) -> None:
        super().__init__(
            f"the online store is in epoch {superseded.newer}, which the offline store does not know",
            remedy="if the offline store was set back, make all anew from the log: habitus backfill; "
            "if the online store is another system's, give the stream another HABITUS_PROJECT",
        )


class Shards:
    """The epoch of one dataset that is written, and the ends of its history by shard."""

    def __init__(self, history: HistoryLike, source: SourceLog) -> None:
        self._history = history
        self._source = source
        self._epoch: int | None = None
        self._ends: dict[tuple[int, Shard], int] = {}
        self._whole: set[tuple[int, Shard]] = set()

    @property
    def epoch(self) -> int:
        """The epoch that is written, read once an assignment. Raises `EpochOfNewerCode`."""
        if self._epoch is None:
            self._epoch = self._read_epoch()
        return self._epoch

    @property
    def history(self) -> HistoryLike:
        """The history in the epoch that is written."""
        return self._history.at(self.epoch)

    def end(self, shard: Shard) -> int:
        """The last offset that the history covers, NOTHING if it is empty; read from the history once an assignment.

        Raises `HistoryOfAnotherLog`, or `Unavailable` if Kafka does not answer.
        """
        place = (self.epoch, shard)
        if place not in self._ends:
            self._ends[place] = self._read_end(shard)
        return self._ends[place]

    def known(self) -> list[Shard]:
        """The shards whose ends are known: those that were assigned, once `recover` has seen them."""
        return [shard for epoch, shard in self._ends if epoch == self.epoch]

    def move(self, shard: Shard, end: int) -> None:
        """The history now reaches to `end`."""
        self._ends[self.epoch, shard] = end

    def is_whole(self, shard: Shard) -> bool:
        """Whether the epoch is known to hold all that earlier ones do."""
        return (self.epoch, shard) in self._whole

    def mark_whole(self, shard: Shard, end: int) -> None:
        """The history reaches to `end`, which is at least as far as those of earlier epochs."""
        self.move(shard, end)
        self._whole.add((self.epoch, shard))

    def forget(self, shards: Iterable[Shard]) -> None:
        """Read the epoch, and the ends of `shards`, anew when they are next needed."""
        forgotten = set(shards)
        self._ends = {place: end for place, end in self._ends.items() if place[1] not in forgotten}
        self._whole = {place for place in self._whole if place[1] not in forgotten}
        self._epoch = None

    def renew(self) -> bool:
        """Read the epoch anew; whether that is a greater one. Raises `EpochOfNewerCode`."""
        before, self._epoch = self._epoch, None
        return before is not None and self.epoch > before

    def require_current_epoch(self) -> None:
        """Check, after the history was extended, that a backfill has not opened a new epoch. Raises `EpochSuperseded`.

        A backfill opens the epoch and then looks how far the old one reaches; so whatever passed this check is seen by it.
        """
        written = self._history.epochs.written()
        if written > self.epoch:
            raise EpochSuperseded(self.epoch, written)

    def completed(self, batch: Batch) -> Iterator[Batch]:
        """`batch`, and before it whatever the log holds between the history's end and it, in order, in parts.

        A history file covers its whole range, so a message that was not delivered would be lost for ever: such come up when a
        history was restored, or a new epoch reaches less far than what was acknowledged in the old one.
        Raises `Unavailable` if the log cannot be read.
        """
        expected = self.end(batch.shard) + 1
        if all(message.offset == expected + place for place, message in enumerate(batch.messages)):
            yield batch
            return
        logger.info("{} was delivered where {}@{} was due: what lies between is read from the log", batch, batch.shard, expected)
        delivered = {message.offset: message for message in batch.messages}
        for messages in self._source.read(batch.shard, expected, max(delivered) + 1):
            known = [message for message in messages if message.offset not in delivered]
            yield Batch(batch.shard, sorted([*known, *_taken(delivered, messages[-1].offset)], key=lambda each: each.offset))
        if delivered:  # what the log has dropped since it was delivered
            yield Batch(batch.shard, _taken(delivered, max(delivered)))

    def _read_epoch(self) -> int:
        epoch = self._history.epochs.written()
        plan = self._history.epochs.plan_of(epoch)
        if plan is not None:
            unknown = set(plan.features) - set(FEATURE_NAMES)
            if unknown or plan.state_version > STATE_VERSION:
                raise EpochOfNewerCode(epoch, plan.app_version, unknown)
        return epoch

    def _read_end(self, shard: Shard) -> int:
        log_id = self._source.log_id(shard.topic)
        made_from = self._history.epochs.bind_log(self.epoch, shard.topic, log_id)
        if made_from != log_id:
            raise HistoryOfAnotherLog(shard, f"it was made from the topic {made_from}, which now is {log_id}")
        end = self.history.end(shard.topic, shard.partition)
        if end is None:
            return NOTHING
        if end >= self._source.end(shard):
            raise HistoryOfAnotherLog(shard, f"it reaches to offset {end}, which the topic does not")
        return end


def _taken(delivered: dict[int, Message], last: int) -> list[Message]:
    """Those up to offset `last`, in order, which are then no longer among `delivered`."""
    return [delivered.pop(offset) for offset in sorted(delivered) if offset <= last]
