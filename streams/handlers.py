"""What happens to a batch of messages, in order.

topic            handler               its effects, each finished before the next begins
---------------  --------------------  -----------------------------------------------------------------------------------
person.records   `handle_records`      dead letters, labels -> history -> person.features -> online rows -> watermark
person.labels    `handle_labels`       dead letters -> history
predictions      `handle_predictions`  dead letters -> history
(a partition of person.records is assigned)  `recover`  what earlier epochs hold -> online rows from the history -> watermark

Place in the flow: `app` hands batches in and acknowledges them when a handler returns; the shelf does the effects; nothing
here knows Faust, Kafka or Redis. The history is the write-ahead log: what comes before it may happen twice, what comes after it
can be done again from it. So a worker may be killed anywhere, and a batch may be cut otherwise when it comes again.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa
from loguru import logger

from feature_repo.labels import PersonLabel
from feature_repo.offline.history import OffsetRange
from feature_repo.predictions import PredictionLogEntry
from feature_repo.temporal import PersonState
from feature_repo.wire import encode_row
from runtime.errors import EpochSuperseded
from streams.materialisation import materialise_messages
from streams.messages import Batch, Message, Shard, by_shard
from streams.rebuild import follow_earlier_epochs
from streams.recovery import catch_up, require_no_successor, rows_again, states_at, store
from streams.sending import send_labels, send_letters
from streams.shards import LedgerSetBack, Shards
from streams.shelf import Outgoing, Row, Shelf
from streams.validation import Accepted, read_label, read_prediction, sort_out

T = TypeVar("T")


@dataclass(frozen=True)
class Applied:
    """What became of some messages.

    `redelivered` ones were in the history already; `late` rows came after one of a newer event time; `unknown_fields` were left
    out.
    """

    accepted: int = 0
    rejected: int = 0
    redelivered: int = 0
    labels: int = 0
    late: int = 0
    unknown_fields: int = 0

    def __add__(self, other: "Applied") -> "Applied":
        return Applied(*(mine + others for mine, others in zip(vars(self).values(), vars(other).values(), strict=True)))


def handle_records(messages: Iterable[Message], shelf: Shelf, shards: Shards) -> Applied:
    """Materialise person records; on return each is in the history and online, or in the dead letters.

    Messages of one shard come in log order. Raises `HistoryConflict` if another worker extended the same history, and
    `InfrastructureError` if an effect failed for good; then nothing may be acknowledged.
    """
    return sum((_in_current_epoch(batch, shelf, shards) for batch in by_shard(messages)), Applied())


def handle_labels(messages: Iterable[Message], shelf: Shelf, shards: Shards) -> Applied:
    """Keep labels; on return each is in the history, or in the dead letters. Raises as `handle_records`."""

    def keep(batch: Batch) -> Applied:
        read = partial(read_label, partitions=shelf.partitions[batch.shard.topic])
        return _keep(batch, read, _label_row, shelf, shards)

    return sum(map(keep, by_shard(messages)), Applied())


def handle_predictions(messages: Iterable[Message], shelf: Shelf, shards: Shards) -> Applied:
    """Keep the prediction log; on return each entry is in the history, or in the dead letters. Raises as `handle_records`."""

    def keep(batch: Batch) -> Applied:
        return _keep(batch, read_prediction, _prediction_row, shelf, shards)

    return sum(map(keep, by_shard(messages)), Applied())


def recover(assigned: Iterable[Shard], shelf: Shelf, shards: Shards) -> None:
    """Bring the online store up to the history of newly assigned shards of person.records. Raises as `handle_records`."""
    for shard in assigned:
        with suppress(EpochSuperseded):  # the first batch goes on in the newer epoch
            _catch_up(shard, shelf.at(shards.epoch), shards)


def _in_current_epoch(batch: Batch, shelf: Shelf, shards: Shards) -> Applied:
    """`_materialise` in the epoch that is written; if a newer one is opened meanwhile, the batch is done again in that one."""
    while True:
        try:
            return _materialise(batch, shelf.at(shards.epoch), shards)
        except EpochSuperseded as superseded:
            if not shards.renew():
                raise LedgerSetBack(superseded) from superseded
            logger.info("{}; {} is done again in it", superseded, batch)


def _materialise(batch: Batch, shelf: Shelf, shards: Shards) -> Applied:
    if _catch_up(batch.shard, shelf, shards):  # it was set back: other shards wait for no record of theirs
        for other in shards.known():
            _catch_up(other, shelf, shards)
    end = shards.end(batch.shard)
    if batch.first <= end:
        _publish_again(batch, end, shelf)
    fresh = batch.after(end)
    if fresh is None:
        return Applied(redelivered=len(batch.messages))
    done = sum((_extend(part, shelf, shards) for part in shards.completed(fresh)), Applied())
    return done + Applied(redelivered=len(batch.messages) - len(fresh.messages))


def _extend(batch: Batch, shelf: Shelf, shards: Shards) -> Applied:
    """All effects of messages that continue the history."""
    end = shards.end(batch.shard)
    made = materialise_messages(
        batch.messages,
        shelf.partitions[batch.shard.topic],
        lambda persons: _states(persons, batch, end, shelf),
        shards.epoch,
    )
    send_letters(made.rejected, batch, shelf)
    labels = send_labels(made.accepted, batch, shelf)
    _append(made.rows, batch, shelf, shards)
    _publish(made.rows, batch, shelf)
    _do(shelf, "writing online rows", batch, lambda: store(made.rows, made.states, batch, end, shelf))

    unknown = sum(each.content.unknown_fields for each in made.accepted)
    return Applied(len(made.accepted), len(made.rejected), labels=labels, late=made.late, unknown_fields=unknown)


def _keep(
    batch: Batch,
    read: Callable[[Message], T],
    as_row: Callable[[Accepted[T]], Row],
    shelf: Shelf,
    shards: Shards,
) -> Applied:
    """Dead letters, then the history: all that happens to what is only kept."""
    fresh = batch.after(shards.end(batch.shard))
    if fresh is None:
        return Applied(redelivered=len(batch.messages))
    done = Applied(redelivered=len(batch.messages) - len(fresh.messages))
    for part in shards.completed(fresh):
        seen = sort_out(part.messages, read)
        send_letters(seen.rejected, part, shelf)
        rows = pa.Table.from_pylist([as_row(each) for each in seen.accepted], schema=shards.history.dataset.schema)
        _append(rows, part, shelf, shards)
        done += Applied(len(seen.accepted), len(seen.rejected))
    return done


def _catch_up(shard: Shard, shelf: Shelf, shards: Shards) -> int:
    """Bring the history as far as that of earlier epochs, once an assignment, then the online store up to it.

    Returns how many persons that concerned.
    """
    if not shards.is_whole(shard):
        known = shards.end(shard)  # refuses another log's
        made = shelf.persistence.do(lambda: follow_earlier_epochs(shard, known, shelf), "following earlier epochs", shard)
        shards.mark_whole(shard, made)
    end = shards.end(shard)
    return shelf.persistence.do(lambda: catch_up(shard, end, shelf), "catching up", f"{shard}@{end}")


def _publish_again(batch: Batch, end: int, shelf: Shelf) -> None:
    """What was not acknowledged may not have been published either; it comes from the history, never computed anew."""
    for rows in rows_again(batch, end, shelf):
        _publish(rows, batch, shelf)


def _states(persons: Sequence[str], batch: Batch, end: int, shelf: Shelf) -> Mapping[str, PersonState]:
    states = _do(shelf, "reading states", batch, lambda: states_at(batch.shard, end, persons, shelf))
    require_no_successor(states, batch, end, shelf)
    return states


def _append(rows: pa.Table, batch: Batch, shelf: Shelf, shards: Shards) -> None:
    """Extend the history up to the batch's last message; what was rejected, or is missing in the log, belongs to the range.

    Raises `HistoryConflict`, and `EpochSuperseded` if what was written lies in an epoch that is no longer the one to be written.
    """
    shard = batch.shard
    offsets = OffsetRange(shard.topic, shard.partition, shards.end(shard) + 1, batch.last)
    _do(shelf, "writing history", batch, lambda: shards.history.append(rows, offsets, batch.messages[0].time))
    shards.require_current_epoch()
    shards.move(shard, batch.last)


def _publish(rows: pa.Table, batch: Batch, shelf: Shelf) -> None:
    outgoing = [Outgoing(row["person_id"].encode(), encode_row(row)) for row in rows.to_pylist()]
    _do(shelf, "publishing features", batch, lambda: shelf.publisher.features(outgoing))


def _label_row(seen: Accepted[PersonLabel]) -> Row:
    return seen.content.model_dump() | {
        "ingested_at": seen.message.time,
        "source_topic": seen.message.shard.topic,
        "source_partition": seen.message.shard.partition,
        "source_offset": seen.message.offset,
    }


def _prediction_row(seen: Accepted[PredictionLogEntry]) -> Row:
    shard = seen.message.shard
    return seen.content.history_row(shard.topic, shard.partition, seen.message.offset, seen.message.time)


def _do(shelf: Shelf, what: str, batch: Batch, effect: Callable[[], T]) -> T:
    return shelf.persistence.do(effect, what, batch)
