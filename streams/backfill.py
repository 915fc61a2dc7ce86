"""A backfill: history and online store of person records made anew from the raw log, in a new epoch, while the stream goes on.

plan     what the new epoch's rows will hold is written down; a backfill that was cut off goes on from here
build    the new history is made, as far as the old one reaches; the stream extends the old one meanwhile
open     the stream moves: every worker sees it after its next batch and does that batch again in the new epoch
finish   what the old history got until then; whatever was acknowledged lies below that
online   the newest row and the state of each person, in the place of the old epoch's
publish  readers move; then rows of persons that the new epoch does not know are removed

Place in the flow: `habitus backfill`. Every step can be cut off and done again; of two backfills at once one ends with
`HistoryConflict`. `person.features` is not published again: its readers follow the log, not the epochs.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from loguru import logger

from feature_repo.features import FEATURE_NAMES
from feature_repo.fingerprint import code_fingerprint
from feature_repo.offline.epochs import Plan
from feature_repo.offline.history import OffsetRange
from feature_repo.temporal import STATE_VERSION, PersonState
from runtime.errors import HabitusError, HistoryConflict
from streams.handlers import send_labels, send_letters
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Batch, Shard, gathered
from streams.recovery import catch_up, fold_history
from streams.shards import NOTHING
from streams.shelf import Shelf

Progress = Callable[[int, int], None]  # messages done, of how many
MESSAGES_A_FILE = 10_000


@dataclass(frozen=True)
class Backfilled:
    """What a backfill did: the epoch that readers see now, the messages behind it, how judgements changed, who was removed."""

    epoch: int
    messages: int = 0
    accepted: int = 0
    rejected: int = 0
    newly_accepted: int = 0
    newly_rejected: int = 0
    removed_persons: int = 0

    def __add__(self, other: "Backfilled") -> "Backfilled":
        counts = {name: count + getattr(other, name) for name, count in vars(self).items() if name != "epoch"}
        return Backfilled(self.epoch, **counts)


class BegunByOtherCode(HabitusError):
    """A backfill was cut off, and the code that began it is not this one."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(
            f"a backfill into epoch {plan.epoch} was begun by other code ({plan.app_version}, {plan.made_at:%Y-%m-%d %H:%M})",
            remedy="finish it with that code, or begin anew: habitus backfill --restart",
        )


def backfill(shelf: Shelf, topic: str, *, restart: bool = False, progress: Progress = lambda _done, _of: None) -> Backfilled:
    """Make the history and the online store of `topic` anew in the next epoch, or finish a backfill that was cut off.

    Raises `BegunByOtherCode`, `HistoryConflict` if another backfill is at work, `InfrastructureError`.
    """
    epochs = shelf.features.epochs
    plan = _plan(shelf, restart=restart)
    before = shelf.at(epochs.current())
    work = [_Rebuild(Shard(topic, number), before, shelf.at(plan.epoch)) for number in range(shelf.partitions[topic])]
    done = _build(work, Backfilled(plan.epoch), progress)
    if epochs.written() < plan.epoch:
        epochs.open(plan.epoch)
        logger.info("epoch {} is open: the stream goes on in it", plan.epoch)
    done = _finish(work, done, progress)
    for each in work:
        each.bring_online()
    epochs.publish(plan.epoch)
    logger.info("epoch {} is what readers read", plan.epoch)
    return replace(done, removed_persons=shelf.online.at(plan.epoch).remove_older(plan.epoch))


def _plan(shelf: Shelf, *, restart: bool) -> Plan:
    """The plan of the backfill that was cut off, else a new one."""
    epochs = shelf.features.epochs
    written, made_by = epochs.written(), f"{shelf.app_version}+{code_fingerprint()}"
    begun = epochs.plan_of(written) if written > epochs.current() else epochs.planned()
    if begun is None or (restart and begun.epoch > written):
        number = max(written, 0 if begun is None else begun.epoch) + 1
        begun = Plan(number, FEATURE_NAMES, STATE_VERSION, made_by, shelf.clock.now())
        epochs.plan(begun)
    if begun.app_version != made_by:
        raise BegunByOtherCode(begun)
    return begun


def _build(work: Sequence["_Rebuild"], done: Backfilled, progress: Progress) -> Backfilled:
    for each in work:
        for step in each.extend():
            done += replace(step, epoch=done.epoch)
            progress(sum(one.end + 1 for one in work), sum(one.due + 1 for one in work))
    return done


def _finish(work: Sequence["_Rebuild"], done: Backfilled, progress: Progress) -> Backfilled:
    """As `_build`, beside workers that extend the same history: whoever comes second looks how far the first one got."""
    while True:
        try:
            return _build(work, done, progress)
        except HistoryConflict as conflict:
            logger.info("a worker was faster: {}", conflict)
            for each in work:
                each.look_again()


class _Rebuild:
    """One partition's new history."""

    def __init__(self, shard: Shard, before: Shelf, after: Shelf) -> None:
        self._shard = shard
        self._before = _Before(shard, before)
        self._after = after
        self._states: dict[str, bytes] = {}  # encoded: of a person with a full window a tenth of the objects' size
        log_id = after.source.log_id(shard.topic)
        after.features.epochs.bind_log(after.epoch, shard.topic, log_id)
        self.look_again()

    @property
    def due(self) -> int:
        """The last offset that the old epoch covers now; of another log, that the log holds."""
        return self._before.end if self._before.is_of_this_log else self._after.source.end(self._shard) - 1

    def look_again(self) -> None:
        """See how far the new history reaches, and what state that leaves each person in."""
        history = self._after.features
        end = history.end(self._shard.topic, self._shard.partition)
        self.end = NOTHING if end is None else end
        tables = history.read_after(self._shard.topic, self._shard.partition)
        self._states = {person_id: state.encode() for person_id, state in fold_history(tables, self._after.epoch).items()}

    def extend(self) -> Iterator[Backfilled]:
        """Extend the new history until it covers what the log holds of what is due, a file a step. Raises `HistoryConflict`.

        What the log holds no more (markers of transactions, deleted messages) is covered by the next message's file.
        """
        before = NOTHING - 1
        while before < self.end < self.due:
            before = self.end
            read = self._after.source.read(self._shard, self.end + 1, self.due + 1)
            for messages in gathered(read, MESSAGES_A_FILE):
                yield self._extend(Batch(self._shard, messages))

    def bring_online(self) -> None:
        """Write the new epoch's rows and states online, up to wherever its history reaches by then."""

        def bring() -> None:
            end = self._after.features.end(self._shard.topic, self._shard.partition)
            if end is not None:
                catch_up(self._shard, end, self._after)

        while True:
            try:
                return self._after.persistence.do(bring, "filling the online store", self._shard)
            except HistoryConflict:
                continue  # a worker moved on between the two looks

    def _extend(self, batch: Batch) -> Backfilled:
        partitions = self._after.partitions[self._shard.topic]
        made = materialise_messages(batch.messages, partitions, self._known, self._after.epoch)
        changes = self._make_good(made, batch)
        offsets = OffsetRange(self._shard.topic, self._shard.partition, self.end + 1, batch.last)
        self._append(made, offsets, batch.messages[0].time)
        self._states |= {person_id: state.encode() for person_id, state in made.states.items()}
        return replace(changes, messages=len(batch.messages), accepted=len(made.accepted), rejected=len(made.rejected))

    def _known(self, persons: Sequence[str]) -> dict[str, PersonState]:
        return {each: PersonState.decode(self._states[each]) for each in persons if each in self._states}

    def _make_good(self, made: Materialised, batch: Batch) -> Backfilled:
        """Send the dead letters and labels that the old epoch has not sent: judgements may change with the code."""
        known = self._before.accepted(batch.first, batch.last)
        letters = [each for each in made.rejected if each.message.offset in known or each.message.offset > self._before.end]
        labelled = [each for each in made.accepted if each.message.offset not in known]
        send_letters(letters, batch, self._after)
        send_labels(labelled, batch, self._after)
        return Backfilled(self._after.epoch, newly_accepted=len(labelled), newly_rejected=len(letters))

    def _append(self, made: Materialised, offsets: OffsetRange, first_time: datetime) -> None:
        history = self._after.features
        self._after.persistence.do(lambda: history.append(made.rows, offsets, first_time), "writing history", offsets)
        self.end = offsets.last


class _Before:
    """The epoch that is replaced, as far as it was made from the log that is there now."""

    def __init__(self, shard: Shard, shelf: Shelf) -> None:
        self._shard = shard
        self._history = shelf.features
        log_id = shelf.source.log_id(shard.topic)
        self.is_of_this_log = shelf.features.epochs.bind_log(shelf.epoch, shard.topic, log_id) == log_id

    @property
    def end(self) -> int:
        """The last offset that it covers now; NOTHING if it covers nothing of this log."""
        end = self._history.end(self._shard.topic, self._shard.partition) if self.is_of_this_log else None
        return NOTHING if end is None else end

    def accepted(self, first: int, last: int) -> set[int]:
        """The offsets from `first` to `last` that were accepted."""
        if not self.is_of_this_log:
            return set()
        found: set[int] = set()
        for rows in self._history.read_after(self._shard.topic, self._shard.partition, first - 1):
            offsets = rows["source_offset"].to_pylist()
            found.update(offset for offset in offsets if offset <= last)
            if offsets and offsets[-1] > last:
                break
        return found
