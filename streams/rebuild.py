"""One partition's history made from the log: anew in the next epoch, or what a restored history lacks.

Place in the flow: a backfill makes all of it; a worker that is assigned a partition makes what the history is known to have held
and does not hold. The states are folded in memory, so nothing that is behind is written online meanwhile.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from loguru import logger

from feature_repo.offline.history import OffsetRange
from feature_repo.temporal import PersonState
from runtime.errors import HistoryConflict
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Batch, Shard, gathered
from streams.recovery import continue_states
from streams.sending import send_labels, send_letters
from streams.shards import NOTHING
from streams.shelf import HistoryLike, Shelf

MESSAGES_A_FILE = 10_000


@dataclass(frozen=True)
class Step:
    """What one file took up; `newly` counts judgements that the earlier epochs had not made."""

    messages: int
    accepted: int
    rejected: int
    newly_accepted: int
    newly_rejected: int


def complete(shard: Shard, end: int, shelf: Shelf) -> int:
    """Make from the log what the history, which ends at `end`, is known to have held and lacks; returns where it ends then.

    Known are the ends of earlier epochs, as long as readers read one of them, the watermark of the online store, and what was
    acknowledged: all of it was in a history once. Nothing is done, and little asked, where nothing lacks.
    """
    due = _known_to_be(shard, shelf)
    if due <= end:
        return end
    rebuild = Rebuild(shard, shelf)
    logger.warning("the history of {} ends at {}, and held {}: the rest is made from the log", shard, end, due)
    while True:
        try:
            for _ in rebuild.extend(due):
                pass
        except HistoryConflict as conflict:
            logger.info("another was faster: {}", conflict)
            rebuild.look_again()
        else:
            return rebuild.end


def acknowledged(shard: Shard, shelf: Shelf) -> int:
    """The last offset that the workers have acknowledged, NOTHING without one: all up to it was in a history once."""
    found = shelf.source.acknowledged(shard)
    return NOTHING if found is None else found


def _known_to_be(shard: Shard, shelf: Shelf) -> int:
    log_end = shelf.source.end(shard) - 1
    earlier = EarlierEpochs(shard, shelf).end if shelf.epoch > shelf.features.epochs.current() else NOTHING
    applied = shelf.online.watermark(shard.topic, shard.partition)
    # A watermark beyond the log is another system's: the catching up refuses it.
    believed = NOTHING if applied is None or applied > log_end else applied
    return min(max(earlier, acknowledged(shard, shelf), believed), log_end)


class Rebuild:
    """The history of `shard` in the epoch of `shelf`, to be extended from the log."""

    def __init__(self, shard: Shard, shelf: Shelf) -> None:
        self._shard = shard
        self._shelf = shelf
        self.earlier = EarlierEpochs(shard, shelf)
        self.end = NOTHING
        self._states: dict[str, bytes] = {}  # encoded: of a person with a full window a tenth of the objects' size
        self.look_again()

    def look_again(self) -> None:
        """Take up what another has added to the history meanwhile."""
        for rows in self._shelf.features.read_after(self._shard.topic, self._shard.partition, self.end):
            known = self._known(rows["person_id"].to_pylist())
            self._remember(continue_states([rows], known, self._shelf.epoch))
        end = self._shelf.features.end(self._shard.topic, self._shard.partition)
        self.end = NOTHING if end is None else end

    def extend(self, due: int) -> Iterator[Step]:
        """Extend the history until it covers what the log holds up to `due`, a file a step. Raises `HistoryConflict`.

        What the log holds no more (markers of transactions, deleted messages) is covered by the next message's file.
        """
        before = NOTHING - 1
        while before < self.end < due:
            before = self.end
            read = self._shelf.source.read(self._shard, self.end + 1, due + 1)
            for messages in gathered(read, MESSAGES_A_FILE):
                yield self._extend(Batch(self._shard, messages))

    def _extend(self, batch: Batch) -> Step:
        partitions = self._shelf.partitions[self._shard.topic]
        made = materialise_messages(batch.messages, partitions, self._known, self._shelf.epoch)
        labelled, letters = self._make_good(made, batch)
        offsets = OffsetRange(self._shard.topic, self._shard.partition, self.end + 1, batch.last)
        self._append(made, offsets, batch.messages[0].time)
        self._remember(made.states)
        return Step(len(batch.messages), len(made.accepted), len(made.rejected), labelled, letters)

    def _known(self, persons: Sequence[str]) -> dict[str, PersonState]:
        return {each: PersonState.decode(self._states[each]) for each in persons if each in self._states}

    def _remember(self, states: dict[str, PersonState]) -> None:
        self._states |= {person_id: state.encode() for person_id, state in states.items()}

    def _make_good(self, made: Materialised, batch: Batch) -> tuple[int, int]:
        """Send the labels and dead letters that no earlier epoch has sent: judgements may change with the code."""
        known, covered = self.earlier.accepted(batch.first, batch.last), self.earlier.end
        letters = [each for each in made.rejected if each.message.offset in known or each.message.offset > covered]
        labelled = [each for each in made.accepted if each.message.offset not in known]
        send_letters(letters, batch, self._shelf)
        send_labels(labelled, batch, self._shelf)
        return len(labelled), len(letters)

    def _append(self, made: Materialised, offsets: OffsetRange, first_time: datetime) -> None:
        history = self._shelf.features
        self._shelf.persistence.do(lambda: history.append(made.rows, offsets, first_time), "writing history", offsets)
        self.end = offsets.last


class EarlierEpochs:
    """The epochs below that of `shelf`, as far as they were made from the log that is there now."""

    def __init__(self, shard: Shard, shelf: Shelf) -> None:
        self._shard = shard
        epochs, log_id = shelf.features.epochs, shelf.source.log_id(shard.topic)
        ours = (number for number in range(shelf.epoch) if epochs.bind_log(number, shard.topic, log_id) == log_id)
        self._histories = [shelf.features.at(number) for number in ours]

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._histories)

    @property
    def end(self) -> int:
        """The last offset that one of them covers now."""
        ends = (history.end(self._shard.topic, self._shard.partition) for history in self._histories)
        return max((end for end in ends if end is not None), default=NOTHING)

    def accepted(self, first: int, last: int) -> set[int]:
        """The offsets from `first` to `last` that were accepted in one of them."""
        return {offset for history in self._histories for offset in self._accepted(history, first, last)}

    def _accepted(self, history: HistoryLike, first: int, last: int) -> Iterator[int]:
        for rows in history.read_after(self._shard.topic, self._shard.partition, first - 1):
            offsets = rows["source_offset"].to_pylist()
            yield from (offset for offset in offsets if offset <= last)
            if offsets and offsets[-1] > last:
                return
