"""One partition's history made from the log in a new epoch.

Place in the flow: a backfill makes all of it; a worker that moves into the epoch before readers do makes what earlier epochs
cover and this one lacks. The states are folded in memory, so nothing that is behind is written online meanwhile.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import pyarrow.compute as pc
from loguru import logger

from feature_repo.offline.history import OffsetRange
from feature_repo.temporal import PersonState
from runtime.errors import BrokenHistory, HistoryConflict
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Batch, Shard, gathered
from streams.persistence import Attempt
from streams.recovery import continue_states
from streams.sending import send_labels, send_letters
from streams.shards import NOTHING, HistoryOfAnotherLog
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


def follow_earlier_epochs(shard: Shard, end: int, shelf: Shelf) -> int:
    """Where the history, which ends at `end`, ends after it was made as long as those of earlier epochs, while readers read one.

    See decision 12.

    Else what is newest of a person in the earlier epoch would be replaced online by what this one holds so far.
    """
    epochs = shelf.features.epochs
    if shelf.epoch == epochs.current():
        return end
    due = EarlierEpochs(shard, shelf).require_end()
    while (end := _end(shard, shelf)) < due:
        logger.info("{} ends at {} in epoch {}, at {} in an earlier one: the rest is made", shard, end, shelf.epoch, due)
        with suppress(HistoryConflict):  # another was faster: look how far
            return _extended(Rebuild(shard, shelf), due)
    return end


def _extended(rebuild: "Rebuild", due: int) -> int:
    for _ in rebuild.extend(due):
        pass
    return rebuild.end


def _end(shard: Shard, shelf: Shelf) -> int:
    return _end_in(shelf.features, shard)


def _end_in(history: HistoryLike, shard: Shard) -> int:
    end = history.end(shard.topic, shard.partition)
    return NOTHING if end is None else end


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
        """Take up what another has added to the history meanwhile. Each file that was read is a sign of life.

        The end is looked for first, and rows beyond it are left to the next look: states and end must tell of the same records.
        """
        begun, end = time.perf_counter(), _end(self._shard, self._shelf)
        for every in self._shelf.features.read_after(self._shard.topic, self._shard.partition, self.end):
            rows = every.filter(pc.field("source_offset") <= end)
            known = self._known(rows["person_id"].to_pylist())
            self._remember(continue_states([rows], known, self._shelf.epoch))
            self._shelf.persistence.told(Attempt("reading history", time.perf_counter() - begun, failed=False))
            begun = time.perf_counter()
        self.end = end

    def extend(self, due: int) -> Iterator[Step]:
        """Extend the history until it covers what the log holds up to `due`, a file a step.

        What the log holds no more (markers of transactions, deleted messages) is covered by the next message's file.
        Raises `HistoryConflict`, `HistoryOfAnotherLog` if the topic was made anew meanwhile.
        """
        if self.end >= due:
            return
        for messages in gathered(self._shelf.source.read(self._shard, self.end + 1, due + 1), MESSAGES_A_FILE):
            require_same_log(self._shard, self._shelf)
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
        if known is None:  # what was sent is not known any more: sent twice is better than never
            letters, labelled = made.rejected, made.accepted
        else:
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
        self._shelf = shelf
        self._log_id = shelf.source.log_id(shard.topic)

    @property
    def exist(self) -> bool:
        """Whether there is one."""
        return bool(self._histories())

    @property
    def end(self) -> int:
        """The last offset that one of them covers now; one that cannot be read tells nothing."""
        return max(map(self._end_of, self._histories()), default=NOTHING)

    def require_end(self) -> int:
        """As `end`. Raises `BrokenHistory` if one of them cannot be read."""
        ends = (_end_in(history, self._shard) for history in self._histories())
        return max(ends, default=NOTHING)

    def accepted(self, first: int, last: int) -> set[int] | None:
        """The offsets from `first` to `last` that were accepted in one of them; None if a broken one no longer tells."""
        place = (self._shard.topic, self._shard.partition)
        with suppress(BrokenHistory):
            return set[int]().union(*(history.accepted(*place, first, last) for history in self._histories()))
        return None

    def _end_of(self, history: HistoryLike) -> int:
        with suppress(BrokenHistory):
            return _end_in(history, self._shard)
        return NOTHING

    def _histories(self) -> list[HistoryLike]:
        """Those that were written by workers, or may have been. Asked each time: another backfill may have opened one since."""
        features, topic = self._shelf.features, self._shard.topic
        numbers = range(min(self._shelf.epoch, features.epochs.written() + 1))
        return [features.at(number) for number in numbers if features.epochs.log_of(number, topic) == self._log_id]


def require_same_log(shard: Shard, shelf: Shelf) -> None:
    """Check that the topic is still the one that the epoch is made from. Raises `HistoryOfAnotherLog`."""
    made_from, log_id = shelf.features.epochs.log_of(shelf.epoch, shard.topic), shelf.source.log_id(shard.topic)
    if made_from not in {None, log_id}:
        raise HistoryOfAnotherLog(shard, f"it was made from the topic {made_from}, which now is {log_id}")
