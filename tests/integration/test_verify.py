"""`habitus verify` finds a planted difference of each kind in what a real worker made, and none where there is none."""

import asyncio
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from redis import Redis
from typer.testing import CliRunner

from feature_repo.online import layout
from feature_repo.temporal import PersonState
from habitus.cli import app
from runtime.kafka import partition_for, producer
from streams.verification.report import Counts, Report
from streams.verify import verify
from tests.scene import STARTS_WITHIN_S, STOPS_WITHIN_S, Scene, send_people, wait_until

run = CliRunner()
RECORDS = 200  # of fifty persons
NONE = Counts()


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a history file."""
    return list(pq.read_table(path, partitioning=None).to_pylist())


class Made:
    """What a worker made of a scene's records, and a copy of it all."""

    def __init__(self, scene: Scene, redis: Redis, folder: Path) -> None:
        self.scene = scene
        self.redis = redis
        self.offline = Path(str(scene.settings.offline_uri))
        self._copy = folder / "copy"
        shutil.copytree(self.offline, self._copy)
        self._stored = {key: redis.dump(key) for key in redis.scan_iter(match=f"*{scene.settings.project}*")}

    def key(self, person_id: str) -> str:
        """The person's key; text, as redis-py is typed, of plain letters."""
        return layout.entity_key(person_id, self.scene.settings.project)  # type: ignore[return-value]

    def put_back(self) -> None:
        """Undo whatever was planted."""
        shutil.rmtree(self.offline)
        shutil.copytree(self._copy, self.offline)
        for key in self.redis.scan_iter(match=f"*{self.scene.settings.project}*"):
            self.redis.delete(key)
        for key, value in self._stored.items():
            self.redis.restore(key, 0, value)  # type: ignore[arg-type]

    def files(self, partition: int) -> list[Path]:
        """The partition's history files, in order."""
        found = self.offline.glob(f"person_features/dt=*/{self.scene.topics.records.name}-{partition}-*.parquet")
        return sorted(found, key=lambda path: path.name)

    def rewrite(self, path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
        """Write a history file anew, as nobody may."""
        table = pq.read_table(path, partitioning=None)
        metadata = table.schema.metadata
        path.chmod(0o644)
        pq.write_table(change(table).replace_schema_metadata(metadata), path)

    def verify(self, sample: int | None = None) -> Report:
        """What verify says."""
        return asyncio.run(verify(self.scene.settings, sample, looks=1))


@pytest.fixture
def made(scene: Scene, redis_url: str, tmp_path: Path) -> Iterator[Made]:
    """Two hundred good records and one bad one of fifty persons, materialised in several history files."""
    scene.start(HABITUS_STREAMS_BATCH="20")
    send_people(scene, RECORDS)
    with producer(scene.settings) as sender:
        sender.send(scene.topics.records.name, key=b"p1", value=b"{", partition=partition_for(b"p1", 2))
        sender.flush()
    scene.drain(scene.topics.records.name)
    scene.kill()
    with Redis.from_url(redis_url) as redis:
        yield Made(scene, redis, tmp_path)


def set_value(column: str, row: int, value: Any) -> Callable[[pa.Table], pa.Table]:
    """A change of one cell."""

    def change(table: pa.Table) -> pa.Table:
        values = table[column].to_pylist()
        values[row] = value
        return table.set_column(
            table.column_names.index(column), table.schema.field(column), pa.array(values, table[column].type)
        )

    return change


def online_value(made: Made) -> None:
    made.redis.hset(made.key("p1"), layout.FIELDS["bmi"], layout.encode_value("bmi", 99.0))  # type: ignore[arg-type]


def online_row_deleted(made: Made) -> None:
    made.redis.delete(made.key("p2"))


def online_row_of_nobody(made: Made) -> None:
    made.redis.copy(made.key("p3"), made.key("stranger"))


def online_row_torn(made: Made) -> None:
    made.redis.hset(made.key("p3"), layout.FIELDS["bmi"], b"\xff?")  # type: ignore[arg-type]


def state_of(made: Made, person_id: str) -> PersonState:
    return PersonState.decode(made.redis.hget(made.key(person_id), layout.STATE_FIELD))  # type: ignore[arg-type]


def online_state(made: Made) -> None:
    state = state_of(made, "p4")
    seen = replace(state.observations[0], weight_kg=1.0)
    changed = replace(state, observations=(seen, *state.observations[1:]))
    made.redis.hset(made.key("p4"), layout.STATE_FIELD, changed.encode())  # type: ignore[arg-type]


def online_state_deleted(made: Made) -> None:
    made.redis.hdel(made.key("p6"), layout.STATE_FIELD)  # type: ignore[arg-type]


def online_set_back(made: Made) -> None:
    """Row and state as they were one record before, each in itself as it once was."""
    state = state_of(made, "p5")
    older = replace(state, offset=state.observations[-2].offset, records_seen=3, observations=state.observations[:-1])
    rows = (row for path in made.files(partition_for(b"p5", 2)) for row in rows_of(path))
    (row,) = (each for each in rows if each["source_offset"] == older.offset)
    fields = {layout.FIELDS[name]: layout.encode_value(name, row[name]) for name in layout.FIELDS}
    moment = older.observations[-1].event_us
    origin = layout.RowOrigin(0, moment, older.offset, row["source_partition"], row["source_topic"])
    fields |= {layout.STATE_FIELD: older.encode(), layout.ROW_FIELD: origin.encode()}
    fields |= {layout.TIMESTAMP_FIELD: layout.encode_timestamp(row["event_timestamp"])}
    made.redis.hset(made.key("p5"), mapping=fields)  # type: ignore[arg-type]


def history_value(made: Made) -> None:
    made.rewrite(made.files(0)[0], set_value("weight_mean_90d_kg", 0, 1.0))


def history_null(made: Made) -> None:
    made.rewrite(made.files(0)[1], set_value("bmi", 0, None))


def history_row_deleted(made: Made) -> None:
    made.rewrite(made.files(1)[0], lambda table: table.slice(0, len(table) - 1))


def history_row_added(made: Made) -> None:
    made.rewrite(made.files(1)[1], lambda table: pa.concat_tables([table, table.slice(0, 1)]))


def history_file_in_the_middle(made: Made) -> None:
    made.files(0)[1].unlink()


def history_file_at_the_end(made: Made) -> None:
    made.files(0)[-1].unlink()


def watermark_deleted(made: Made) -> None:
    made.redis.delete(layout.watermark_key(made.scene.settings.project, made.scene.topics.records.name, 0))


# What is planted at once, and what that gives: online against history, history against recomputed, state against recomputed.
# None: some, as the worker cut its files.
PLANTED: list[tuple[list[Callable[[Made], None]], tuple[Counts | None, Counts | None, Counts]]] = [
    ([online_value, online_state, online_set_back, online_row_torn], (Counts(3), NONE, Counts(3))),
    ([online_row_deleted, online_state_deleted, online_row_of_nobody], (Counts(0, 1, 1), NONE, Counts(0, 2, 1))),
    ([history_value, history_null, history_row_deleted, history_row_added], (NONE, Counts(2, 1, 1), NONE)),
    ([history_file_in_the_middle], (NONE, None, NONE)),
    ([history_file_at_the_end], (None, None, NONE)),
]


def test_a_planted_difference_of_each_kind_is_found(made: Made) -> None:
    """Promise: every way in which two of the three can differ is found, and counted for what it is."""
    whole = made.verify()
    assert (whole.checked, whole.holds, whole.messages, whole.rows, whole.rejected) == (50, True, RECORDS + 1, RECORDS, 1), whole
    assert made.verify(7).checked == 7
    for plants, (online, history, state) in PLANTED:
        for plant in plants:
            plant(made)
        found = made.verify()
        made.put_back()
        told = f"{[plant.__name__ for plant in plants]}: {found}"
        assert (found.holds, found.checked) == (False, 50 + (online_row_of_nobody in plants)), told
        for name, expected in (("online_history", online), ("history_recomputed", history), ("state_recomputed", state)):
            assert found.pairs[name] == expected or (expected is None and found.pairs[name] != NONE), told
        assert any(number in found.examples[0] for number in ("p", "stranger")), told
    contradictory_positions_are_found(made)
    a_worker_that_is_behind_is_no_difference(made)


def contradictory_positions_are_found(made: Made) -> None:
    watermark_deleted(made)
    found = made.verify()
    made.put_back()
    assert (found.holds, found.positions, found.missing) == (False, 1, 0)
    assert f"{made.scene.topics.records.name}[0]: the online store has no watermark" in found.examples[0]


def a_worker_that_is_behind_is_no_difference(made: Made) -> None:
    """Nor is a message that is not read yet, nor a history that is ahead of the online store."""
    made.redis.delete(made.key("p2"))
    shard = partition_for(b"p2", 2)
    before = min(each["source_offset"] for path in made.files(shard) for each in rows_of(path) if each["person_id"] == "p2") - 1
    made.redis.set(layout.watermark_key(made.scene.settings.project, made.scene.topics.records.name, shard), f"0:{before}")
    send_people(made.scene, 30, start=RECORDS)
    behind = made.verify()
    assert behind.holds, behind
    assert sum(each.unapplied for each in behind.freshness) > 30
    assert all(each.oldest_unapplied_s for each in behind.freshness)


def test_the_command_tells_people_and_scripts(scene: Scene) -> None:
    empty = run.invoke(app, ["verify", "--all", "--json"], env=scene.environment)
    assert empty.exit_code == 0, empty
    told = json.loads(empty.stdout)
    assert told.items() >= {"checked": 0, "mismatched": 0, "missing": 0, "extra": 0, "holds": True, "positions": 0}.items()
    assert [each["log_end"] for each in told["freshness"]] == [None, None]
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as redis:
        redis.hset(layout.entity_key("stranger", scene.settings.project), layout.TIMESTAMP_FIELD, b"")  # type: ignore[arg-type]
    strange = run.invoke(app, ["verify"], env=scene.environment | {"COLUMNS": "80"})
    assert (strange.exit_code, "stranger: online, but not in the history" in strange.stdout) == (1, True), strange
    assert max(map(len, strange.stdout.splitlines())) <= 80


def test_it_verifies_again_and_again_until_it_is_ended(scene: Scene) -> None:
    """Promise: a result a run on standard output, the figures for Prometheus, and an end within five seconds of SIGTERM."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    scene.start("habitus", "verify", "--every", "0.1s", "--metrics-port", str(port), "--json")
    scene.await_log("verified: online store, history and raw log agree")
    wait_until(lambda: scene.log.read_text().count('"holds": true') > 1, STARTS_WITHIN_S, "a second verification")
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        figures = answer.read().decode()
    assert 'habitus_verify_differences{kind="missing",pair="online_history"} 0.0' in figures
    assert "habitus_verify_last_success_timestamp_seconds 1" in figures
    assert scene.worker is not None
    scene.worker.terminate()
    assert scene.worker.wait(timeout=STOPS_WITHIN_S) == 0
