"""Fold, history and online store under whatever comes, in any order: found by a machine that tries, not by who thinks of it."""

import json
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hypothesis.strategies as st
import pyarrow as pa
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import PersonState
from feature_repo.wire import encode_row
from runtime.errors import HistoryConflict
from runtime.kafka import partition_for
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Shard
from streams.shards import Shards

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS, PARTITIONS = "person.records", 4
WORKERS = st.sampled_from(["one", "two"])
NAMES = ("ann", "bob", "eve", "fay")
SHARDS = sorted({Shard(RECORDS, partition_for(name.encode(), PARTITIONS)) for name in NAMES}, key=str)
EFFECTS = st.integers(0, 12)  # of a batch; the process ends before the next one
KINDS = st.sampled_from(["good", "good", "labelled", "badly labelled", "bad", "misrouted"])


class Stream(RuleBasedStateMachine):
    """Two workers that may own the same shards at once, on one log, one history and one online store.

    Whatever they do is compared with what one pass over the log gives, kept up to date as messages are sent.
    """

    def __init__(self, world: World, person: Person) -> None:
        super().__init__()
        self.world = world
        self.person = person
        self.expected: dict[Shard, list[Materialised]] = defaultdict(list)  # by offset
        self.states: dict[str, PersonState] = {}  # after all that was sent
        self.state_after: dict[tuple[Shard, int], PersonState] = {}
        self.workers: dict[str, Any] = {}
        self.positions: dict[str, dict[Shard, int]] = {}  # of each worker: the next offset it will be given
        self.is_alone: dict[str, bool] = {}  # whether no other worker has done anything since this one started
        self.committed: dict[Shard, int] = defaultdict(int)
        self.acknowledged: dict[Shard, int] = defaultdict(int)  # up to, not with
        self.snapshot: tuple[Any, ...] | None = None
        for worker in ("one", "two"):
            self._start(worker)

    # What may happen

    @rule(
        records=st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 5), st.integers(40, 90), KINDS), min_size=1, max_size=6)
    )
    def records_are_sent(self, records: list[tuple[str, int, int, str]]) -> None:
        for name, hour, weight_kg, kind in records:
            self._send(name, hour, weight_kg, kind)

    @rule(worker=WORKERS, shard=st.sampled_from(SHARDS), size=st.integers(1, 6))
    def a_batch_is_delivered(self, worker: str, shard: Shard, size: int) -> None:
        self._deliver(worker, shard, size)

    @rule(worker=WORKERS, shard=st.sampled_from(SHARDS), size=st.integers(1, 6), effects=EFFECTS)
    def a_worker_is_killed_in_a_batch(self, worker: str, shard: Shard, size: int, effects: int) -> None:
        self.world.fate.effects_left = effects
        self._deliver(worker, shard, size)
        self.world.fate.effects_left = None

    @rule(worker=WORKERS)
    def a_worker_starts_again(self, worker: str) -> None:
        self._start(worker)
        self._act(worker, lambda: self.world.recover(*SHARDS))

    @rule(worker=WORKERS, effects=EFFECTS)
    def a_worker_is_killed_while_it_catches_up(self, worker: str, effects: int) -> None:
        self._start(worker)
        self.world.fate.effects_left = effects
        self._act(worker, lambda: self.world.recover(*SHARDS))
        self.world.fate.effects_left = None

    @rule(worker=WORKERS, shard=st.sampled_from(SHARDS))
    def a_worker_commits(self, worker: str, shard: Shard) -> None:
        """What a worker that was fenced off commits may lie before what another did: then records come again."""
        self.committed[shard] = self.positions[worker].get(shard, self.committed[shard])

    @rule(shard=st.sampled_from(SHARDS), offset=st.integers(0, 30))
    def the_group_is_set_back(self, shard: Shard, offset: int) -> None:
        self.committed[shard] = min(offset, self.committed[shard])

    @rule()
    def the_online_store_is_emptied(self) -> None:
        self._restore(({}, {}, {}, {}))

    @rule()
    def a_snapshot_of_the_online_store_is_taken(self) -> None:
        online = self.world.online
        self.snapshot = tuple(map(dict, (online.persons, online.row_epochs, online.watermarks, online.watermark_epochs)))

    @precondition(lambda self: self.snapshot is not None)
    @rule()
    def the_online_store_is_set_back_to_the_snapshot(self) -> None:
        assert self.snapshot is not None
        self._restore(self.snapshot)

    @rule(shard=st.sampled_from(SHARDS))
    def a_backup_of_the_history_is_restored(self, shard: Shard) -> None:
        """Its last file is lost, the online store is emptied with it, and all workers start again."""
        self._lose_the_last_file(shard)
        self.the_online_store_is_emptied()
        self.snapshot = None
        for worker in self.workers:
            self._start(worker)

    # What must hold, whatever happened

    @invariant()
    def the_history_is_one_pass_over_the_log_and_nothing_is_in_it_twice(self) -> None:
        for shard in SHARDS:
            made = self.expected[shard][: self._end(shard) + 1]
            assert self._history(shard).equals(_rows(made))

    @invariant()
    def the_online_store_is_the_latest_of_the_history(self) -> None:
        """At least of what the watermark vouches for; and what is ahead of it is in the history too."""
        for shard in SHARDS:
            watermark = self.world.online.watermarks.get(shard, -1)
            assert watermark <= self._end(shard)
            latest = self._latest(shard, watermark)
            assert latest.keys() <= self.world.online.persons.keys()
            for name, (state, row) in self.world.online.persons.items():
                if _shard(name) == shard:
                    self._require_online(shard, state, row, latest.get(name))

    @invariant()
    def what_is_acknowledged_is_published(self) -> None:
        published = {(row.key, row.value) for row in self.world.publisher.published}
        for shard in SHARDS:
            for made in self.expected[shard][: self.acknowledged[shard]]:
                assert {(row["person_id"].encode(), encode_row(row)) for row in made.rows.to_pylist()} <= published

    @invariant()
    def nothing_else_is_published(self) -> None:
        known = {encode_row(row) for shard in SHARDS for each in self.expected[shard] for row in each.rows.to_pylist()}
        assert {each.value for each in self.world.publisher.published} <= known

    @invariant()
    def what_the_history_passes_over_is_a_dead_letter_and_each_label_went_its_way(self) -> None:
        told = ({name: value.decode() for name, value in letter.headers} for _, letter in self.world.publisher.buried)
        buried = {(int(each["source_partition"]), int(each["source_offset"])) for each in told}
        labelled = {
            (each.key, json.loads(each.value)["obesity_level"], each.timestamp_ms) for each in self.world.publisher.labelled
        }
        for shard in SHARDS:
            for made in self.expected[shard][: self._end(shard) + 1]:
                assert {(shard.partition, each.message.offset) for each in made.rejected} <= buried
                assert _labels(made) <= labelled

    def teardown(self) -> None:
        """In the end, with one worker that nobody disturbs, all is as if nobody ever had been.

        What a restored history lacks comes again with the next message of its shard, so each shard gets one.
        """
        self.a_worker_starts_again("one")
        for name in NAMES:
            self._send(name, 5, 80, "good")
        for shard in SHARDS:
            self._deliver("one", shard, 10_000)
        self.the_history_is_one_pass_over_the_log_and_nothing_is_in_it_twice()
        self.what_is_acknowledged_is_published()
        for shard in SHARDS:
            assert self._end(shard) == len(self.expected[shard]) - 1
            persons = {name: each for name, each in self.world.online.persons.items() if _shard(name) == shard}
            assert {name: row for name, (_, row) in persons.items()} == self._latest(shard, self._end(shard))
            assert {name: state for name, (state, _) in persons.items()} == {name: self.states[name] for name in persons}

    # How it is done

    def _send(self, name: str, hour: int, weight_kg: int, kind: str) -> None:
        fields = self.person(person_id=name, event_timestamp=f"2024-05-01T0{hour}:00:00Z", weight_kg=weight_kg)
        fields |= {"labelled": {"obesity_level": "Normal_Weight"}, "badly labelled": {"obesity_level": 7}}.get(kind, {})
        place = {"partition": next(each.partition for each in SHARDS if each != _shard(name))} if kind == "misrouted" else {}
        message = self.world.send({"person_id": name} if kind == "bad" else fields, **place)
        made = materialise_messages([message], PARTITIONS, lambda _: self.states)
        self.states |= made.states
        self.expected[message.shard].append(made)
        self.state_after |= dict.fromkeys([(message.shard, message.offset)], next(iter(made.states.values()), None))

    def _start(self, worker: str) -> None:
        self.workers[worker] = {RECORDS: Shards(self.world.features, self.world)}
        self.positions[worker] = {}
        self.is_alone[worker] = True

    def _deliver(self, worker: str, shard: Shard, size: int) -> None:
        first = self.positions[worker].get(shard, self.committed[shard])
        batch = self.world.log[shard][first : first + size]
        if batch and self._act(worker, lambda: self.world.deliver(*batch)):
            self.positions[worker][shard] = batch[-1].offset + 1
            self.acknowledged[shard] = max(self.acknowledged[shard], batch[-1].offset + 1)

    def _act(self, worker: str, act: Callable[[], object]) -> bool:
        """Whether the worker came through; if it did not, it starts again. A conflict there may be only if there are two."""
        for other in self.workers:
            self.is_alone[other] = self.is_alone[other] and other == worker
        self.world.shards = self.workers[worker]
        try:
            act()
        except self.world.killed:
            self._start(worker)
            return False
        except HistoryConflict:
            assert not self.is_alone[worker]
            self._start(worker)
            return False
        return True

    def _end(self, shard: Shard) -> int:
        end = self.world.features.at(0).end(shard.topic, shard.partition)
        return -1 if end is None else int(end)

    def _history(self, shard: Shard) -> pa.Table:
        tables = self.world.features.at(0).read_after(shard.topic, shard.partition)
        return pa.concat_tables([PERSON_FEATURES.schema.empty_table(), *tables]).combine_chunks()

    def _latest(self, shard: Shard, end: int) -> dict[str, dict[str, Any]]:
        latest: dict[str, dict[str, Any]] = {}
        for row in _rows(self.expected[shard][: end + 1]).to_pylist():
            known = latest.get(row["person_id"], row)
            latest[row["person_id"]] = max(known, row, key=_rank)
        return latest

    def _require_online(self, shard: Shard, state: PersonState, row: dict[str, Any], latest: dict[str, Any] | None) -> None:
        assert state == self.state_after[shard, state.offset]
        assert [row] == self.expected[shard][row["source_offset"]].rows.to_pylist()
        assert max(state.offset, row["source_offset"]) <= self._end(shard)
        if latest is not None:
            assert _rank(row) >= _rank(latest)

    def _lose_the_last_file(self, shard: Shard) -> None:
        history = self.world.features
        if isinstance(history, _OnDisk):
            history.lose_the_last_file(shard)
        elif history.files[shard]:
            history.files[shard].pop()

    def _restore(self, kept: tuple[Any, ...]) -> None:
        online = self.world.online
        for held, then in zip((online.persons, online.row_epochs, online.watermarks, online.watermark_epochs), kept, strict=True):
            held.clear()
            held.update(then)


class _OnDisk:
    """The real history below a folder; the process may end before and after an append."""

    def __init__(self, real: Any, fate: Any) -> None:
        self._real = real
        self._fate = fate

    def at(self, epoch: int) -> "_OnDisk":
        return _OnDisk(self._real.at(epoch), self._fate)

    def append(self, *arguments: Any) -> Any:
        self._fate.step()
        path = self._real.append(*arguments)
        self._fate.step()
        return path

    def lose_the_last_file(self, shard: Shard) -> None:
        files: LocalFiles = self._real.files
        names = [name for name in files.names("") if f"/{shard.topic}-{shard.partition}-" in name]
        for name in names[-1:]:
            (files.root / name).unlink()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_whatever_happens_history_and_online_store_are_one_pass_over_the_log(
    new_world: Callable[[], World], person: Person
) -> None:
    """Promise: see the rules and the invariants of `Stream`."""
    run = settings(max_examples=70, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(lambda: Stream(new_world(), person), settings=run)


def test_whatever_happens_the_history_on_disk_is_one_pass_over_the_log(
    new_world: Callable[[], World], person: Person, tmp_path: Path
) -> None:
    """Promise: as above, with the history's real files."""

    def on_disk() -> Stream:
        world = new_world()
        world.features = _OnDisk(History(LocalFiles(Path(mkdtemp(dir=tmp_path))), PERSON_FEATURES), world.fate)
        world.shelf = replace(world.shelf, features=world.features)
        return Stream(world, person)

    run = settings(max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(on_disk, settings=run)


def _shard(name: str) -> Shard:
    return Shard(RECORDS, partition_for(name.encode(), PARTITIONS))


def _labels(made: Materialised) -> set[tuple[Any, Any, int]]:
    seen = (each for each in made.accepted if each.content.level is not None)
    return {(each.message.key, each.content.level, each.message.timestamp_ms) for each in seen}


def _rank(row: dict[str, Any]) -> tuple[Any, int]:
    return row["event_timestamp"], row["source_offset"]


def _rows(made: list[Materialised]) -> pa.Table:
    return pa.concat_tables([PERSON_FEATURES.schema.empty_table(), *(each.rows for each in made)]).combine_chunks()
