"""One partition compared: online with the history's latest rows, each history row with the recomputed one, states with the fold.

Place in the flow: `streams.verify` calls `compare` for each partition of each look. The log and the history are read once, side
by side, in steps; of the persons the states and the latest rows are kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from feature_repo.features import FEATURE_NAMES
from feature_repo.latest import latest_of_persons
from feature_repo.online.reader import OnlineRow
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import PersonState
from runtime.errors import BrokenHistory
from streams.messages import Message, Shard, gathered
from streams.shards import NOTHING
from streams.verification.cells import differing, phrases, same, told
from streams.verification.chosen import Chosen
from streams.verification.findings import Findings
from streams.verification.history_rows import HistoryRows, Piece
from streams.verification.recomputation import Recomputation
from streams.verification.report import Kind, Pair
from streams.verification.sides import HistorySide, LogSide, Stored, Unreadable

_MESSAGES_AT_ONCE = 5_000
_ORIGIN = ("event_timestamp", "source_topic", "source_partition", "source_offset")
_COMPARED_ONLINE = ["person_id", *_ORIGIN, *FEATURE_NAMES]
_NO_ROWS = PERSON_FEATURES.schema.empty_table()

Progress = Callable[[int], None]  # messages read since the last call


@dataclass(frozen=True)
class Ends:
    """Where a partition stood before anything else was read: last offsets, NOTHING or None if there are none."""

    log: int
    history: int
    watermark: int | None
    acknowledged: int = NOTHING

    @property
    def covered(self) -> int:
        """Up to where the online store must hold everything. Without a watermark: all that the history holds."""
        return self.history if self.watermark is None else self.watermark


@dataclass(frozen=True)
class Sides:
    """What is read of a partition. `chosen` persons are compared; the topic has `partitions`."""

    history: HistorySide
    log: LogSide
    partitions: int
    epoch: int
    chosen: Chosen


@dataclass
class Compared:
    """Who and how much was compared, and the timestamp of the newest message that the watermark covers."""

    persons: int = 0
    messages: int = 0
    rows: int = 0
    rejected: int = 0
    newest_applied_ms: int | None = None


def compare(
    shard: Shard, ends: Ends, stored: Mapping[str, Stored], sides: Sides, findings: Findings, *, progress: Progress
) -> Compared:
    """Compare what is `stored` online of the partition's persons, read after `ends`, with history and raw log.

    Raises `BrokenHistory`, `Unavailable`.
    """
    reaches = sides.history.end(shard.topic, shard.partition)
    history_end = NOTHING if reaches is None else reaches
    findings.positions += contradictions(shard, ends, history_end)
    last = max(history_end, ends.covered)
    files = sides.history.read_files(shard.topic, shard.partition)
    comparison = _Comparison(ends, stored, sides, findings)
    try:
        return comparison.run(shard, HistoryRows(files, sides.chosen, last), last, progress)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise BrokenHistory(f"the history of {shard} cannot be read: {error}") from error


def contradictions(shard: Shard, ends: Ends, history_end: int) -> list[str]:
    """What cannot be: each of log, history and online store may only reach as far as the one before it."""
    found = []
    if history_end > ends.log:
        found.append(f"{shard}: the history reaches to offset {history_end}, the topic to {ends.log}")
    if history_end < ends.acknowledged <= ends.log:
        told = f"the workers have acknowledged offset {ends.acknowledged}, the history reaches to {history_end}"
        found.append(f"{shard}: {told}; the next record, or `habitus backfill`, makes the rest from the log")
    if ends.watermark is None and ends.history > NOTHING:
        found.append(f"{shard}: the online store has no watermark, the history reaches to offset {history_end}")
    if ends.watermark is not None and ends.watermark > history_end:
        found.append(f"{shard}: the online store has applied offset {ends.watermark}, the history reaches to {history_end}")
    return found


class _Comparison:
    def __init__(self, ends: Ends, stored: Mapping[str, Stored], sides: Sides, findings: Findings) -> None:
        self._ends = ends
        self._stored = stored
        self._sides = sides
        self._findings = findings
        self._as_of = {person_id: _as_of(each, ends.covered) for person_id, each in stored.items()}
        self._recomputed = Recomputation(sides.partitions, sides.epoch, self._compared_at)
        self._latest = _NO_ROWS.select(_COMPARED_ONLINE)
        self._in_history: set[str] = set()
        self._done = Compared()

    def run(self, shard: Shard, history: HistoryRows, last: int, progress: Progress) -> Compared:
        known = min(last, self._ends.log)
        read = self._sides.log.read(shard, 0, known + 1) if known > NOTHING else iter(())
        for messages in gathered(read, _MESSAGES_AT_ONCE):
            made = self._recompute(messages)
            self._compare_rows(made, history.up_to(messages[-1].offset))
            progress(len(messages))
        self._compare_rows(_NO_ROWS, history.rest())
        self._require_nothing_beyond(shard, history)
        self._compare_online()
        self._require_all_judged(shard)
        self._done.persons = len(self._recomputed.persons() | self._in_history | self._stored.keys())
        return self._done

    def _recompute(self, messages: Sequence[Message]) -> pa.Table:
        chosen = self._sides.chosen.messages(messages)
        made = self._recomputed.extend(chosen)
        for each in messages:
            if each.offset <= self._ends.covered:
                self._done.newest_applied_ms = max(each.timestamp_ms, self._done.newest_applied_ms or 0)
        self._done.messages += len(messages)
        self._done.rows += made.rows.num_rows
        self._done.rejected += len(made.rejected)
        return made.rows

    def _require_nothing_beyond(self, shard: Shard, history: HistoryRows) -> None:
        """A row that came while we read lies at or below the end that the history has by now."""
        end = self._sides.history.end(shard.topic, shard.partition)
        for rows in history.later:
            offsets = rows["source_offset"].to_pylist()
            self._add_extra(rows, [None if offset > (NOTHING if end is None else end) else offset for offset in offsets])

    def _require_all_judged(self, shard: Shard) -> None:
        done = self._done
        if self._sides.chosen.size is None and done.rows + done.rejected != done.messages:
            told = f"{done.rows} accepted and {done.rejected} rejected of {done.messages} messages"
            self._findings.positions.append(f"{shard}: {told}")

    def _compared_at(self, person_id: str) -> int:
        return self._as_of.get(person_id, self._ends.covered)

    def _compare_rows(self, made: pa.Table, pieces: Iterable[Piece]) -> None:
        """Each row of the history with the recomputed one of the same offset."""
        expected = {offset: number for number, offset in enumerate(made["source_offset"].to_pylist())}
        for piece in pieces:
            self._remember(piece.rows)
            offsets = piece.rows["source_offset"].to_pylist()
            places = [expected.pop(offset, None) for offset in offsets]
            self._add_extra(piece.rows, places)
            here = [number for number, place in enumerate(places) if place is not None]
            there = [place for place in places if place is not None]
            self._add_mismatched(_take(piece.rows, here), _take(made, there), piece.lacking)
        lost = _take(made, list(expected.values()))
        for person_id, offset in zip(lost["person_id"].to_pylist(), lost["source_offset"].to_pylist(), strict=True):
            self._add(Kind.MISSING, person_id, f"no row of offset {offset} in the history, though its record is accepted")

    def _remember(self, rows: pa.Table) -> None:
        """Keep the latest row of each person, as of where the person is compared."""
        persons = rows["person_id"].to_pylist()
        self._in_history.update(persons)
        columns = zip(persons, rows["source_offset"].to_pylist(), strict=True)
        due = pa.array([offset <= self._compared_at(person_id) for person_id, offset in columns], pa.bool_())
        joined = pa.concat_tables([self._latest, rows.select(_COMPARED_ONLINE).filter(due).cast(self._latest.schema)])
        self._latest = latest_of_persons(joined)

    def _add_extra(self, rows: pa.Table, places: Sequence[int | None]) -> None:
        extra = _take(rows, [number for number, place in enumerate(places) if place is None])
        for person_id, offset in zip(extra["person_id"].to_pylist(), extra["source_offset"].to_pylist(), strict=True):
            self._add(Kind.EXTRA, person_id, f"a row of offset {offset} in the history, for which no accepted record stands")

    def _add_mismatched(self, rows: pa.Table, made: pa.Table, lacking: frozenset[str]) -> None:
        cells = differing(made, rows, lacking)
        for row in np.flatnonzero(np.logical_or.reduce(list(cells.values()))) if cells else ():
            offset, person_id = (made[name][int(row)].as_py() for name in ("source_offset", "person_id"))
            sentence = told(rows, made, cells, int(row), ("in the history", "recomputed"))
            self._add(Kind.MISMATCHED, person_id, f"offset {offset}: {sentence}")

    def _compare_online(self) -> None:
        expected = {row["person_id"]: row for row in self._latest.to_pylist()}
        for person_id in sorted(expected.keys() | self._stored.keys() | self._recomputed.persons()):
            found = self._stored.get(person_id)
            self._compare_row(person_id, expected.get(person_id), found)
            self._compare_state(person_id, self._recomputed.state(person_id), found)

    def _compare_row(self, person_id: str, expected: Mapping[str, object] | None, found: Stored | None) -> None:
        if found is None and expected is None:
            return
        if found is None:
            self._add(Kind.MISSING, person_id, "not online", Pair.ONLINE_HISTORY)
        elif expected is None:
            self._add(Kind.EXTRA, person_id, "online, but not in the history", Pair.ONLINE_HISTORY)
        elif sentence := differences(expected, found):
            self._add(Kind.MISMATCHED, person_id, sentence, Pair.ONLINE_HISTORY)

    def _compare_state(self, person_id: str, expected: bytes | None, found: Stored | None) -> None:
        if isinstance(found, Unreadable):
            self._add(Kind.MISMATCHED, person_id, f"the online state cannot be read ({found.why})", Pair.STATE_RECOMPUTED)
            return
        state = found.state if found else None
        if state is None and expected is not None:
            self._add(Kind.MISSING, person_id, "no state online", Pair.STATE_RECOMPUTED)
        elif state is not None and expected is None:
            self._add(Kind.EXTRA, person_id, "a state online, but no accepted record", Pair.STATE_RECOMPUTED)
        elif state is not None and expected is not None and state.encode() != expected:
            sentence = states_told(state, PersonState.decode(expected))
            self._add(Kind.MISMATCHED, person_id, sentence, Pair.STATE_RECOMPUTED)

    def _add(self, kind: Kind, person_id: str, sentence: str, pair: Pair = Pair.HISTORY_RECOMPUTED) -> None:
        self._findings.add(pair, kind, person_id, lambda: sentence)


def differences(expected: Mapping[str, object], found: Stored) -> str:
    """What differs between a person's latest history row and the online row, in a phrase each; empty if nothing does.

    A row that Feast wrote names no record behind it.
    """
    if isinstance(found, Unreadable):
        return f"the online row cannot be read ({found.why})"
    origin = _ORIGIN if found.source_offset is not None else _ORIGIN[:1]
    pairs = [(name, getattr(found, name), expected[name]) for name in origin]
    pairs += [(name, found.values[name], expected[name]) for name in FEATURE_NAMES]
    return phrases((each for each in pairs if not same(each[1], each[2])), ("online", "in the history"))


def states_told(found: PersonState, expected: PersonState) -> str:
    """What differs between two states."""
    pairs = [
        (f"the state's {name}", value, getattr(expected, name)) for name, value in vars(found).items() if name != "observations"
    ]
    unlike = [each for each in pairs if not same(each[1], each[2])]
    return phrases(unlike, ("online", "recomputed")) or "the state's observations differ from the recomputed ones"


def _take(rows: pa.Table, places: Sequence[int]) -> pa.Table:
    return rows.take(pa.array(places, pa.int64()))


def _as_of(stored: Stored, covered: int) -> int:
    """The offset up to which a person's records count: what the watermark covers, or where the person's own state stands."""
    if not isinstance(stored, OnlineRow):
        return covered
    own = stored.source_offset if stored.state is None else stored.state.offset
    return covered if own is None else max(covered, own)
