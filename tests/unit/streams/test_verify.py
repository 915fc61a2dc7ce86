"""A verification finds every difference between online store, history and raw log, and none where a worker is merely at work."""

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.features import FEATURE_NAMES
from feature_repo.gate import person_hash
from feature_repo.online.reader import OnlineRow
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import Observation
from runtime.clock import FixedClock
from runtime.kafka import partition_for
from streams.backfill import backfill
from streams.messages import Shard
from streams.verification.cells import differing, same
from streams.verification.chosen import EVERYBODY, sample
from streams.verification.findings import SHOWN, Findings
from streams.verification.partition import Ends, contradictions
from streams.verification.report import Counts, Kind, Pair, Report
from streams.verification.sides import Stored
from streams.verify import Source, verify_source

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS = "person.records"
PARTITIONS = 4
PERSONS = "abcdef"
RECORD = st.tuples(st.sampled_from(PERSONS), st.integers(0, 6), st.integers(40, 90), st.sampled_from(["good", "good", "bad"]))
LOG = st.lists(RECORD, min_size=1, max_size=14)
QUICK = settings(max_examples=25, deadline=None)


@dataclass
class Kept:
    """The world's history as a verification reads it; `lacking` columns are those that all files were written without."""

    history: Any
    lacking: frozenset[str] = frozenset()
    between: Callable[[], None] = lambda: None

    @property
    def epochs(self) -> Any:
        return self.history.epochs

    def at(self, epoch: int) -> "Kept":
        return replace(self, history=self.history.at(epoch))

    def end(self, topic: str, partition: int) -> int | None:
        self.between()
        return self.history.end(topic, partition)

    def read_files(self, topic: str, partition: int) -> Iterator[tuple[pa.Table, frozenset[str]]]:
        for _, rows, _ in self.history.files[Shard(topic, partition)]:
            self.between()
            yield rows, self.lacking

    def scan(self, columns: list[str]) -> pa.Table:
        return pa.Table.from_pylist(self.history.rows(), PERSON_FEATURES.schema).select(columns)


@dataclass
class Served:
    """The world's online store as a verification reads it."""

    online: Any
    between: Callable[[], None] = lambda: None

    def watermark(self, shard: Shard) -> int | None:
        self.between()
        return self.online.watermark(shard.topic, shard.partition)

    async def persons(self) -> set[str]:
        self.between()
        return set(self.online.persons)

    async def read(self, persons: Sequence[str]) -> list[Stored | None]:
        self.between()
        return [self._row(*self.online.persons[each]) if each in self.online.persons else None for each in persons]

    def _row(self, state: Any, row: dict[str, Any]) -> OnlineRow:
        origin = {name: row[name] for name in ("event_timestamp", "source_topic", "source_partition", "source_offset")}
        return OnlineRow({name: row[name] for name in FEATURE_NAMES}, **origin, state=state)


def source_of(world: World, lacking: frozenset[str] = frozenset(), between: Callable[[], None] = lambda: None) -> Source:
    kept = Kept(world.features, lacking, between)
    return Source(RECORDS, PARTITIONS, world, kept, lambda epoch: Served(world.online.at(epoch), between), FixedClock(NOON))


def verified(world: World, size: int | None = None, *, looks: int = 1, **options: Any) -> Report:
    return asyncio.run(verify_source(source_of(world, **options), size, looks=looks))


def send(world: World, person: Person, drawn: Sequence[tuple[str, int, int, str]]) -> list[Any]:
    sent = []
    for person_id, hour, weight_kg, kind in drawn:
        fields = person(person_id=person_id, event_timestamp=f"2024-05-01T0{hour}:00:00Z", weight_kg=weight_kg)
        sent.append(world.send({"person_id": person_id} if kind == "bad" else fields))
    return sent


def rewrite(world: World, change: Callable[[pa.Table], pa.Table], number: int = 0) -> None:
    """Change the `number`-th history file that has rows."""
    with_rows = [(files, at) for files in world.features.files.values() for at, (_, rows, _) in enumerate(files) if len(rows)]
    files, at = with_rows[number % len(with_rows)]
    offsets, rows, moment = files[at]
    files[at] = (offsets, change(rows).cast(rows.schema), moment)


SOME = [("a", 1, 60, "good"), ("b", 2, 70, "good"), ("a", 0, 61, "good"), ("b", 3, 72, "bad"), ("a", 4, 64, "good")]


@pytest.fixture
def settled(world: World, person: Person) -> World:
    """Two persons' records, all applied, in two batches."""
    sent = send(world, person, SOME)
    world.deliver(*sent[:2])
    world.deliver(*sent[2:])
    return world


def one(report: Report) -> dict[str, Counts]:
    """The pairs that differ."""
    return {pair: counts for pair, counts in report.pairs.items() if counts != Counts()}


@given(drawn=LOG, cuts=st.lists(st.integers(1, 5), max_size=8), begun=st.integers(0, 14), steps=st.lists(st.integers(0, 2)))
@QUICK
def test_a_worker_at_work_is_no_difference(
    new_world: Callable[[], World], person: Person, *, drawn: Any, cuts: list[int], begun: int, steps: list[int]
) -> None:
    """Promise: wherever the worker stands, and whatever it does between any two reads of one look, nothing differs."""
    world, waiting = new_world(), []
    sent, start = send(world, person, drawn), 0
    for cut in [*cuts, len(drawn)]:
        waiting += [sent[start : start + cut]] if sent[start : start + cut] else []
        start += cut
    for batch in waiting[:begun]:
        world.deliver(*batch)
    still, moves = iter(waiting[begun:]), iter(steps)

    def work() -> None:
        for _ in range(next(moves, 0)):
            world.deliver(*next(still, sent[:1]))

    report = verified(world, between=work)
    assert report.holds, report


@given(drawn=LOG, column=st.sampled_from(PERSON_FEATURES.schema.names), file=st.integers(0, 3), row=st.integers(0, 9))
@QUICK
def test_any_changed_cell_of_the_history_is_found(
    new_world: Callable[[], World], person: Person, *, drawn: Any, column: str, file: int, row: int
) -> None:
    world = new_world()
    world.deliver(*send(world, person, [("a", 1, 60, "good"), *drawn]))
    told: list[str] = []

    def change(rows: pa.Table) -> pa.Table:
        values, at = rows[column].to_pylist(), row % len(rows)
        told.append(rows["person_id"][at].as_py())
        values[at] = _other(values[at], rows[column].type)
        return rows.set_column(rows.column_names.index(column), column, pa.array(values, rows[column].type))

    rewrite(world, change, file)
    found = verified(world).pairs[Pair.HISTORY_RECOMPUTED]
    assert found == (Counts(0, 1, 1) if column == "source_offset" else Counts(1)), column


def _other(value: Any, dtype: pa.DataType) -> Any:
    if pa.types.is_string(dtype):
        return f"{value}x"
    if pa.types.is_timestamp(dtype):
        return value.replace(year=1999)
    if pa.types.is_boolean(dtype):
        return not value
    return math.nextafter(value or 0.0, math.inf) if pa.types.is_floating(dtype) else (value or 0) + 9_000


def test_what_is_whole_holds_and_is_counted(settled: World) -> None:
    report = verified(settled)
    assert (report.holds, report.checked, report.messages, report.rows, report.rejected) == (True, 2, 5, 4, 1)
    assert sum(each.unapplied for each in report.freshness) == 0


def test_a_row_that_the_history_lost_is_missing_and_one_too_many_extra(settled: World) -> None:
    rewrite(settled, lambda rows: rows.slice(1))
    assert one(verified(settled)) == {"history_recomputed": Counts(missing=1)}
    rewrite(settled, lambda rows: pa.concat_tables([rows, rows.slice(0, 1)]), 1)
    assert one(verified(settled)) == {"history_recomputed": Counts(missing=1, extra=1)}


def test_rows_beyond_the_end_of_the_log_are_extra(settled: World) -> None:
    """Promise: a topic that lost its end, or is another one by now, is told with the rows that nothing stands for any more."""
    settled.log[Shard(RECORDS, partition_for(b"a", PARTITIONS))].pop()
    report = verified(settled)
    assert (report.pairs["history_recomputed"], report.positions) == (Counts(extra=1), 1)


def test_a_row_beyond_the_end_of_its_history_is_extra(settled: World) -> None:
    """Promise: a history that grows while it is read explains later rows up to its new end, and none above."""

    def add(rows: pa.Table) -> pa.Table:
        offsets = pa.array([9_000], pa.int64())
        beyond = rows.slice(0, 1).set_column(
            rows.column_names.index("source_offset"), rows.schema.field("source_offset"), offsets
        )
        return pa.concat_tables([rows, beyond])

    rewrite(settled, add)
    assert one(verified(settled)) == {"history_recomputed": Counts(extra=1)}


def test_a_row_of_no_accepted_record_is_extra(settled: World) -> None:
    log = settled.log[Shard(RECORDS, partition_for(b"a", PARTITIONS))]
    log[-1] = replace(log[-1], value=b"{")
    report = verified(settled)
    assert report.pairs["history_recomputed"] == Counts(extra=1)
    assert any("for which no accepted record stands" in each for each in report.examples)


def test_an_older_row_online_is_found_though_it_was_right_once(settled: World, person: Person) -> None:
    older = settled.online.persons["a"]
    settled.deliver(*send(settled, person, [("a", 6, 66, "good")]))
    settled.online.persons["a"] = older
    assert one(verified(settled)) == {"online_history": Counts(1), "state_recomputed": Counts(1)}


def test_somebody_online_of_whom_nothing_else_knows_is_extra(settled: World) -> None:
    settled.online.persons["x"] = settled.online.persons["a"]
    report = verified(settled)
    assert one(report) == {"online_history": Counts(extra=1), "state_recomputed": Counts(extra=1)}
    assert "x: online, but not in the history" in report.examples


def test_a_person_is_compared_where_the_own_state_stands(settled: World, person: Person) -> None:
    """Promise: a row that is online before its watermark counts with the records that it has seen, not more."""
    before = dict(settled.online.watermarks)
    settled.deliver(*send(settled, person, [("a", 5, 66, "good"), ("b", 5, 77, "good"), ("a", 6, 68, "good")]))
    settled.online.watermarks = before
    assert verified(settled).holds
    state, row = settled.online.persons["a"]
    settled.online.persons["a"] = (state, row | {"bmi": 1.0})
    assert one(verified(settled)) == {"online_history": Counts(1)}


def test_a_changed_state_is_found(settled: World) -> None:
    state, row = settled.online.persons["a"]
    first = state.observations[0]
    settled.online.persons["a"] = (replace(state, observations=(replace(first, bmi=1.0), *state.observations[1:])), row)
    report = verified(settled)
    assert one(report) == {"state_recomputed": Counts(1)}
    assert "a: the state's observations differ from the recomputed ones" in report.examples


def test_a_state_beyond_all_records_is_found(settled: World) -> None:
    state, row = settled.online.persons["a"]
    ahead = replace(state, offset=99, observations=(*state.observations, Observation(0, 99, 1.0, 1.0)))
    settled.online.persons["a"] = (ahead, row)
    assert one(verified(settled)) == {"state_recomputed": Counts(1)}


def test_a_state_of_another_epoch_is_found(settled: World) -> None:
    state, row = settled.online.persons["a"]
    settled.online.persons["a"] = (replace(state, epoch=7), row)
    assert "the state's epoch is 7 online, 0 recomputed" in verified(settled).examples[0]


def test_a_person_of_whom_only_the_log_knows_is_found_in_a_sample_too(settled: World) -> None:
    """Promise: the hash of the name alone decides who is in a sample, so nobody hides by missing elsewhere."""
    smaller, _ = sorted("ab", key=person_hash)
    settled.online.persons.pop(smaller)
    for number in range(3):
        rewrite(settled, lambda rows: rows.filter(pc.field("person_id") != smaller), min(number, 1))
    report = verified(settled, 1)
    assert (report.missing, report.mismatched, report.extra) == (1, 0, 0)
    assert all(each.startswith(f"{smaller}: no ") for each in report.examples)


def test_where_hardly_anybody_is_online_the_history_bounds_the_sample(settled: World) -> None:
    settled.online.persons.clear()
    assert (verified(settled, 1).checked, verified(settled, 1).missing) == (1, 1)


def test_a_null_that_was_never_written_is_no_difference_but_one_that_was_is(settled: World) -> None:
    """Promise: files of before a feature existed read as null and are right; a null in a newer file is a lost value."""

    def forget(rows: pa.Table) -> pa.Table:
        nulls = pa.nulls(len(rows), pa.float64())
        return rows.set_column(rows.column_names.index("bmi"), "bmi", nulls)

    for number in range(4):
        rewrite(settled, forget, number)
    for person_id, (state, row) in settled.online.persons.items():
        settled.online.persons[person_id] = (state, row | {"bmi": None})
    assert verified(settled, lacking=frozenset({"bmi"})).holds
    assert one(verified(settled)) == {"history_recomputed": Counts(4)}
    rewrite(settled, lambda rows: rows.set_column(rows.column_names.index("bmi"), "bmi", pa.array([1.0] * len(rows))))
    assert verified(settled, lacking=frozenset({"bmi"})).pairs["history_recomputed"].mismatched


def test_what_is_gone_at_a_later_look_was_no_difference(settled: World) -> None:
    whole = dict(settled.online.persons)
    settled.online.persons.pop("a")
    pauses = []

    async def repair(pause_s: float) -> None:
        pauses.append(pause_s)
        settled.online.persons |= whole

    found = asyncio.run(verify_source(source_of(settled), None, looks=3, sleep=repair))
    assert (found.holds, found.checked, len(pauses)) == (True, 2, 1)


def test_what_stays_is_counted_once(settled: World) -> None:
    settled.online.persons.pop("a")

    async def wait(_: float) -> None:
        """Nothing changes."""

    found = asyncio.run(verify_source(source_of(settled), None, looks=3, sleep=wait))
    assert (found.checked, found.missing) == (2, 1)
    assert one(found) == {"online_history": Counts(missing=1), "state_recomputed": Counts(missing=1)}


def test_a_switch_of_epochs_is_a_difference_only_while_it_lasts(settled: World) -> None:
    shard = next(iter(settled.online.watermarks))
    settled.online.watermark_epochs[shard] = 1
    found = verified(settled)
    assert found.positions
    assert "`habitus backfill` finishes the switch" in found.examples[0]

    async def finish(_: float) -> None:
        settled.online.watermark_epochs.clear()

    assert asyncio.run(verify_source(source_of(settled), None, looks=2, sleep=finish)).holds


def test_a_backfill_that_moves_writers_and_readers_is_waited_for(settled: World) -> None:
    """Promise: between the opening of an epoch and its publication, when what is online is of two, nothing is judged."""
    real = type(settled.features.epochs).publish
    seen: list[Report] = []

    def publishes(epoch: int) -> None:
        async def goes_on(_: float) -> None:
            real(settled.features.epochs, epoch)
            settled.features.epochs.done = epoch

        seen.append(asyncio.run(verify_source(source_of(settled), None, looks=1, sleep=goes_on)))

    settled.features.epochs.publish = publishes
    backfill(settled.shelf, RECORDS)
    assert (seen[0].holds, seen[0].epoch) == (True, 1)


def test_a_backfill_that_was_cut_off_at_the_switch_is_told_after_a_while(settled: World) -> None:
    settled.features.epochs.opened = 1
    settled.online.watermark_epochs = dict.fromkeys(settled.online.watermarks, 1)
    pauses: list[float] = []

    async def wait(pause_s: float) -> None:
        pauses.append(pause_s)

    found = asyncio.run(verify_source(source_of(settled), None, looks=3, sleep=wait))
    assert found.positions
    assert len(pauses) == 30 + 2, "it is waited for once, whatever is looked at again"


def test_a_backfill_that_was_cut_off_at_the_switch_is_told_though_nothing_differs(settled: World) -> None:
    settled.features.epochs.opened = 1

    async def wait(_: float) -> None:
        """Nothing changes."""

    found = asyncio.run(verify_source(source_of(settled), None, sleep=wait))
    assert not found.holds
    assert any("`habitus backfill` finishes it" in each for each in found.examples)


def test_whoever_a_backfill_is_still_removing_is_waited_for(settled: World) -> None:
    """Promise: between the publication and the end, persons whom no history knows any more are on their way out."""
    backfill(settled.shelf, RECORDS)
    settled.features.epochs.done = 0
    gone = deepcopy(settled.online.persons["a"])
    settled.online.persons["gone"] = gone
    looked: list[float] = []

    async def removes(pause_s: float) -> None:
        looked.append(pause_s)
        settled.online.persons.pop("gone", None)
        settled.features.epochs.done = 1

    assert asyncio.run(verify_source(source_of(settled), None, looks=1, sleep=removes)).holds
    assert len(looked) == 1


def test_a_later_look_waits_for_a_switch_that_began_after_the_first(settled: World) -> None:
    whole = dict(settled.online.persons)
    settled.online.persons.pop("a")
    epochs = settled.features.epochs

    async def switches(_: float) -> None:
        if epochs.opened == 0:
            epochs.opened = 1
            return
        settled.online.persons |= whole
        epochs.opened = 0

    assert asyncio.run(verify_source(source_of(settled), None, looks=2, sleep=switches)).holds


def test_what_is_acknowledged_while_the_ends_are_read_is_no_contradiction(settled: World, person: Person) -> None:
    """Promise: acknowledgements are asked for before the history's end, which is always ahead of them."""
    (message,) = send(settled, person, [("a", 5, 66, "good")])
    real, done = settled.acknowledged, False

    def acknowledged(shard: Shard) -> int | None:
        nonlocal done
        found: int | None = real(shard)
        if shard == message.shard and not done:
            done = True
            settled.deliver(message)
        return found

    settled.acknowledged = acknowledged
    assert verified(settled).positions == 0


def test_a_history_set_back_behind_what_was_acknowledged_is_found(settled: World) -> None:
    shard = next(shard for shard, files in settled.features.files.items() if len(files) > 1)
    settled.features.files[shard].pop()
    settled.online.watermarks[shard] = settled.features.end(shard.topic, shard.partition)
    found = verified(settled)
    assert found.positions
    assert any("the workers have acknowledged offset" in each for each in found.examples)


def test_positions_that_cannot_be_are_told() -> None:
    shard = Shard(RECORDS, 1)
    assert contradictions(shard, Ends(log=9, history=7, watermark=5), 8) == []
    assert contradictions(shard, Ends(9, 7, 5, 8), 8) == []
    assert contradictions(shard, Ends(9, 7, 5, 12), 7) == []  # another system's acknowledgements
    assert "have acknowledged offset 8, the history reaches to 7" in contradictions(shard, Ends(9, 7, 5, 8), 7)[0]
    assert contradictions(shard, Ends(log=-1, history=-1, watermark=None), -1) == []
    assert "the history reaches to offset 12, the topic to 9" in contradictions(shard, Ends(9, 7, 7), 12)[0]
    assert "has no watermark" in contradictions(shard, Ends(9, 7, None), 7)[0]
    assert "has applied offset 8, the history reaches to 7" in contradictions(shard, Ends(9, 7, 8), 7)[0]


def test_freshness_tells_what_waits_and_how_old_it_is(settled: World, person: Person) -> None:
    (message,) = send(settled, person, [("a", 5, 66, "good")])
    shard = message.shard
    waiting = next(each for each in verified(settled).freshness if each.partition == shard.partition)
    assert (waiting.unapplied, waiting.log_end, waiting.watermark) == (1, message.offset, settled.online.watermarks[shard])
    assert (waiting.oldest_unapplied_s, waiting.newest_applied_s) == (0.0, 0.0)


def test_values_are_the_same_only_bit_for_bit() -> None:
    assert same(math.nan, math.nan)
    assert same(None, None)
    assert not same(0.0, -0.0)
    assert not same(1, 1.0)
    assert not same(None, math.nan)
    left = pa.table({"x": [0.0, math.nan, None, 1.0, None], "y": ["a", None, "c", "d", "e"]})
    right = pa.table({"x": [-0.0, math.nan, None, None, 2.0], "y": ["a", None, "c", "d", None]})
    found = differing(left, right)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "x": [True, False, False, True, True],
        "y": [False, False, False, False, True],
    }
    assert differing(left, right, frozenset({"x"}))["x"].tolist() == [True, False, False, False, True]


def test_a_sample_is_of_the_smallest_hashes_and_of_whoever_else_has_such_a_hash() -> None:
    persons = [f"p{number}" for number in range(40)]
    chosen = sample(7, persons)
    assert {each for each in persons if chosen.has(each)} == set(sorted(persons, key=person_hash)[:7])
    others = [f"q{number}" for number in range(200)]
    limit = max(person_hash(each) for each in persons if chosen.has(each))
    assert [each for each in others if chosen.has(each)] == [each for each in others if person_hash(each) <= limit]
    assert sample(41, persons) is EVERYBODY


def test_a_store_that_is_all_wrong_is_counted_and_told_in_a_few_sentences() -> None:
    findings = Findings()
    for number in range(1000):
        findings.add(Pair.ONLINE_HISTORY, Kind.MISSING, f"p{number}", lambda: "not online")
        findings.add(Pair.HISTORY_RECOMPUTED, Kind.EXTRA, f"p{number}", lambda: "too many")
    assert findings.of(Pair.ONLINE_HISTORY) == Counts(missing=1000)
    assert (len(findings.persons()), len(findings.examples()) <= SHOWN) == (1000, True)
    assert {each.split(": ")[1] for each in findings.examples()[:2]} == {"not online", "too many"}
