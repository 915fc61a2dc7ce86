"""A backfill: history and online store of person records made anew from the raw log, in a new epoch, while the stream goes on.

plan     what the new epoch's rows will hold is written down; a backfill that was cut off goes on from here
build    the new history is made, as far as the old one reaches; the stream extends the old one meanwhile
open     the stream moves: every worker sees it after its next batch and does that batch again in the new epoch
finish   what the old history got until then; whatever was acknowledged lies below that
online   the newest row and the state of each person, in the place of the old epoch's
publish  readers move; then rows of persons that the new epoch does not know are removed

Place in the flow: `habitus backfill`. Every step can be cut off and done again. Of two backfills into one epoch one ends with
`HistoryConflict`; one into a later epoch starts from all earlier ones. `person.features` is not published again: its readers
follow the log, not the epochs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from loguru import logger

from feature_repo.features import FEATURE_NAMES
from feature_repo.fingerprint import code_fingerprint
from feature_repo.offline.epochs import Plan
from feature_repo.temporal import STATE_VERSION
from runtime.errors import BrokenHistory, EpochSuperseded, HabitusError, HistoryConflict
from streams.messages import Shard
from streams.rebuild import Rebuild, require_same_log
from streams.recovery import catch_up
from streams.shards import NOTHING
from streams.shelf import Shelf

Progress = Callable[[int, int], None]  # messages done, of how many


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


def backfill(
    shelf: Shelf,
    topic: str,
    *,
    restart: bool = False,
    progress: Progress = lambda _done, _of: None,
    readers_moved: Callable[[], None] = lambda: None,
) -> Backfilled:
    """Make the history and the online store of `topic` anew in the next epoch, or finish a backfill that was cut off.

    `readers_moved` is called when readers read the new epoch. Raises `BegunByOtherCode`, `HistoryConflict` if another backfill
    is at work, `EpochSuperseded` if that opened a later epoch, `HistoryOfAnotherLog` if the topic was made anew meanwhile (run
    again, it begins anew), `InfrastructureError`.
    """
    epochs = shelf.features.epochs
    plan = _plan(shelf, topic, restart=restart)
    try:
        work = _parts(shelf, topic, plan)
    except BrokenHistory as broken:  # of the very epoch that is to be finished: what is begun anew needs nothing of it
        logger.warning("epoch {} is given up, as it cannot be read: {}", plan.epoch, broken)
        plan = _plan(shelf, topic, restart=True)
        work = _parts(shelf, topic, plan)
    done = Backfilled(plan.epoch)
    if epochs.written() < plan.epoch:
        done = _build(work, done, progress)
        require_same_log(work[0].shard, shelf.at(plan.epoch))
        epochs.open(plan.epoch)
        logger.info("epoch {} is open: the stream goes on in it", plan.epoch)
        for each in work:
            each.learn(_applied(each.shard, shelf))
    done = _finish(work, done, progress)
    for each in work:
        each.bring_online()
    require_same_log(work[0].shard, shelf.at(plan.epoch))
    epochs.publish(plan.epoch)
    logger.info("epoch {} is what readers read", plan.epoch)
    removed = shelf.online.at(plan.epoch).remove_older(plan.epoch)
    readers_moved()
    epochs.finish(plan.epoch)
    return replace(done, removed_persons=removed)


def _parts(shelf: Shelf, topic: str, plan: Plan) -> list["_Part"]:
    return [_Part(shard, shelf.at(plan.epoch), _applied(shard, shelf)) for shard in _shards(shelf, topic)]


def _shards(shelf: Shelf, topic: str) -> list[Shard]:
    return [Shard(topic, number) for number in range(shelf.partitions[topic])]


def _plan(shelf: Shelf, topic: str, *, restart: bool) -> Plan:
    """The plan of the backfill that was cut off, if it was made from this log; else a new one."""
    epochs, made_by = shelf.features.epochs, f"{shelf.app_version}+{code_fingerprint()}"
    begun = epochs.planned() or (epochs.plan_of(epochs.written()) if epochs.finished() < epochs.written() else None)
    log_id = shelf.source.log_id(topic)
    if begun is None or restart or epochs.log_of(begun.epoch, topic) not in {None, log_id}:
        begun = Plan(_greatest(shelf, topic, begun) + 1, FEATURE_NAMES, STATE_VERSION, made_by, shelf.clock.now())
        epochs.plan(begun)
    if begun.app_version != made_by:
        raise BegunByOtherCode(begun)
    epochs.bind_log(begun.epoch, topic, log_id)
    return begun


def _greatest(shelf: Shelf, topic: str, begun: Plan | None) -> int:
    """The greatest epoch that anybody knows: the online store may be in one that a ledger of before a backfill has forgotten."""
    greatest = max(shelf.features.epochs.written(), 0 if begun is None else begun.epoch)
    for shard in _shards(shelf, topic):
        try:
            shelf.online.at(greatest).watermark(shard.topic, shard.partition)
        except EpochSuperseded as superseded:
            greatest = superseded.newer
    return greatest


def _applied(shard: Shard, shelf: Shelf) -> int:
    """What the online store has applied, in whatever epoch: a history held it once, and may have been set back since."""
    written, place = shelf.features.epochs.written(), (shard.topic, shard.partition)
    try:
        found = (shelf.online.at(epoch).watermark(*place) for epoch in range(written, -1, -1))
        applied = next((each for each in found if each is not None), None)
    except EpochSuperseded as superseded:
        applied = shelf.online.at(superseded.newer).watermark(*place)
    return NOTHING if applied is None else applied


def _build(work: Sequence["_Part"], done: Backfilled, progress: Progress) -> Backfilled:
    for each in work:
        for step in each.rebuild.extend(each.due):
            done += Backfilled(done.epoch, **vars(step))
            progress(sum(one.rebuild.end + 1 for one in work), sum(one.due + 1 for one in work))
    return done


def _finish(work: Sequence["_Part"], done: Backfilled, progress: Progress) -> Backfilled:
    """As `_build`, beside workers that extend the same history: whoever comes second looks how far the first one got."""
    while True:
        try:
            return _build(work, done, progress)
        except HistoryConflict as conflict:
            logger.info("a worker was faster: {}", conflict)
            for each in work:
                each.rebuild.look_again()


class _Part:
    """One partition of the work; the online store has applied up to `applied` in the epoch before."""

    def __init__(self, shard: Shard, shelf: Shelf, applied: int) -> None:
        self.shard = shard
        self._shelf = shelf
        self.rebuild = Rebuild(shard, shelf)
        self._log_end = shelf.source.end(shard) - 1
        self._known = NOTHING
        self.learn(applied)

    def learn(self, applied: int) -> None:
        """Take up how far acknowledgements and the online store tell now that the history reached."""
        acknowledged = self._shelf.source.acknowledged(self.shard)
        known = max(applied, NOTHING if acknowledged is None else acknowledged)
        if known < self._shelf.source.end(self.shard):  # else it is of another log
            self._known = max(self._known, known)

    @property
    def due(self) -> int:
        """The last offset that an earlier epoch covers now, or is known to have covered before it was set back to a backup.

        Where no epoch was made from this log: the last one that the log held at first.
        """
        return max(self.rebuild.earlier.end, self._known) if self.rebuild.earlier.exist else self._log_end

    def bring_online(self) -> None:
        """Write the new epoch's rows and states online, up to wherever its history reaches by then."""

        def bring() -> None:
            end = self._shelf.features.end(self.shard.topic, self.shard.partition)
            if end is not None:
                catch_up(self.shard, end, self._shelf)

        while True:
            try:
                return self._shelf.persistence.do(bring, "filling the online store", self.shard)
            except HistoryConflict:
                continue  # a worker moved on between the two looks
