"""Catching up: what the history holds and the online store does not, applied without computing a feature again.

Place in the flow: at assignment of a partition, and before each batch of it: a store that was emptied or set back is noticed
by its watermark.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from loguru import logger

from feature_repo.latest import latest_of_persons
from feature_repo.materialise import observe
from feature_repo.temporal import Observation, PersonState, to_us
from runtime.errors import HabitusError, HistoryConflict, Unavailable
from streams.messages import Batch, Shard
from streams.shards import NOTHING
from streams.shelf import Shelf

_WRITTEN_AT_ONCE = 1000  # persons in one pipeline


class OnlineAhead(HabitusError):
    """The online store has applied records that the history does not hold: one of the two belongs to another system."""

    def __init__(self, shard: Shard, watermark: int, end: int) -> None:
        super().__init__(
            f"the online store has applied {shard} up to {watermark}, the history ends at {end}",
            remedy="if the history was set back, make it whole from the log: habitus backfill; "
            "if the online store is another system's, give the stream another HABITUS_PROJECT",
        )


def catch_up(shard: Shard, end: int, shelf: Shelf) -> int:
    """Apply online what lies between the shard's watermark and `end`, from the history; returns how many persons that concerned.

    Of each person the last row alone is written, so that no reader sees one that is older than what was there. Afterwards the
    watermark is `end`. Rows and states that are stored already stay.
    Raises `OnlineAhead`, `HistoryConflict`, `EpochSuperseded`, `Unavailable`.
    """
    server = shelf.online.server(shard.topic, shard.partition)
    known = _marked(shard, server, shelf)
    if known > end:
        _require_unextended(shard, end, shelf)
        raise OnlineAhead(shard, known, end)
    if known == end:
        return 0
    newest, states = _final(shelf.features.read_after(shard.topic, shard.partition, known), shelf)
    if shelf.online.watermark(shard.topic, shard.partition) != known:
        raise _set_back(shard)  # the states may be read from an emptied store; once written, wrong ones would stay
    for start in range(0, newest.num_rows, _WRITTEN_AT_ONCE):
        shelf.online.apply(newest.slice(start, _WRITTEN_AT_ONCE), states)
    if not shelf.online.advance_watermark(shard.topic, shard.partition, known, end, server):
        raise _set_back(shard)
    logger.bind(persons=newest.num_rows).info("caught up: {} online from {} to {}", shard, known, end)
    return int(newest.num_rows)


def _marked(shard: Shard, server: str, shelf: Shelf) -> int:
    """The shard's watermark. Where there is none, NOTHING is stated first: so a store that is emptied later shows it.

    Raises `Unavailable` if another one was stated meanwhile.
    """
    watermark = shelf.online.watermark(shard.topic, shard.partition)
    if watermark is not None:
        return watermark
    if not shelf.online.advance_watermark(shard.topic, shard.partition, None, NOTHING, server):
        raise _set_back(shard)
    return NOTHING


def _final(tables: Iterable[pa.Table], shelf: Shelf) -> tuple[pa.Table, dict[str, PersonState]]:
    """Of each person in `tables` of history rows, in log order, the newest row, and the state after them all."""
    newest = shelf.features.dataset.schema.empty_table()
    states: dict[str, PersonState] = {}
    for rows in tables:
        persons = rows["person_id"].to_pylist()
        states |= shelf.online.states({each for each in persons if each not in states})
        observe(persons, _observations(rows), states, shelf.epoch)
        newest = latest_of_persons(pa.concat_tables([newest, rows]))
    return newest, states


def continue_states(tables: Iterable[pa.Table], states: dict[str, PersonState], epoch: int) -> dict[str, PersonState]:
    """`states`, known before `tables` of history rows, and those of persons who come up in them, after all rows, in log order."""
    after = dict(states)
    for rows in tables:
        observe(rows["person_id"].to_pylist(), _observations(rows), after, epoch)
    return after


def states_at(shard: Shard, end: int, persons: Sequence[str], shelf: Shelf) -> dict[str, PersonState]:
    """The states of `persons` after all records up to `end`.

    The watermark is read after the states: a store that was emptied or set back before or between is noticed. Then it is
    caught up and `Unavailable` raised, so that the read is tried again.
    """
    states = shelf.online.states(persons)
    if shelf.online.watermark(shard.topic, shard.partition) == end:
        return states
    catch_up(shard, end, shelf)
    raise _set_back(shard)


def store(rows: pa.Table, states: Mapping[str, PersonState], batch: Batch, before: int, shelf: Shelf) -> None:
    """Write a batch's rows online, then move the watermark from `before` to the batch's end.

    If the watermark is not `before` any more, or another server answers now than before the rows were written (a failover, to a
    replica that may lack them), the store was set back: then all that it lacks comes from the history.
    """
    shard = batch.shard
    server = shelf.online.server(shard.topic, shard.partition)
    shelf.online.apply(rows, states)
    if not shelf.online.advance_watermark(shard.topic, shard.partition, before, batch.last, server):
        catch_up(shard, batch.last, shelf)


def rows_again(batch: Batch, end: int, shelf: Shelf) -> Iterator[pa.Table]:
    """The history's rows of those messages of `batch` that lie at or below `end`: redelivered ones."""
    last = min(batch.last, end)
    for rows in shelf.features.read_after(batch.shard.topic, batch.shard.partition, batch.first - 1):
        wanted = rows.filter(pc.field("source_offset") <= last)
        yield wanted
        if wanted.num_rows < rows.num_rows:
            return


def require_no_successor(states: Mapping[str, PersonState], batch: Batch, end: int, shelf: Shelf) -> None:
    """Check that no state has seen a record of `batch`, which follows the history's `end`.

    Raises `HistoryConflict` if another worker had it before, `OnlineAhead` if the history was set back.
    """
    ahead = max((state.offset for state in states.values()), default=NOTHING)
    if ahead >= batch.first:
        _require_unextended(batch.shard, end, shelf)
        raise OnlineAhead(batch.shard, ahead, end)


def _set_back(shard: Shard) -> Unavailable:
    return Unavailable("redis", f"the rows of {shard} were lost meanwhile; they come again from the history")


def _require_unextended(shard: Shard, end: int, shelf: Shelf) -> None:
    now = shelf.features.end(shard.topic, shard.partition)
    if now is not None and now > end:
        raise HistoryConflict(f"{shard}@{end + 1} was extended by another worker, up to {now}")


def _observations(rows: pa.Table) -> Iterator[Observation]:
    columns = (rows[name].to_pylist() for name in ("event_timestamp", "source_offset", "weight_kg", "bmi"))
    for moment, offset, weight_kg, bmi in zip(*columns, strict=True):
        yield Observation(to_us(moment), offset, weight_kg, bmi)
