"""What a history promises on a folder it promises on object storage: the same tests on both, then a worker on the latter."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.offline.epochs import Plan
from feature_repo.offline.files import Files, open_files
from feature_repo.offline.history import History, OffsetRange
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from runtime.errors import HistoryConflict, Unavailable
from runtime.kafka import ensure_topics
from runtime.settings import Settings
from streams.settings import StreamsSettings
from streams.verify import verify
from tests.object_storage import object_storage
from tests.scene import Scene, send_people
from trainer.adapters.history import FeastHistory

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
OWNERS = 4


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage() as uri:
        yield uri


@pytest.fixture(params=["folder", "object storage"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Files:
    if request.param == "folder":
        return open_files(str(tmp_path))
    return open_files(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")


def labels(first: int, last: int) -> pa.Table:
    rows = [
        {
            "person_id": f"p{offset}", "event_timestamp": NOON, "obesity_level": "Normal_Weight", "ingested_at": NOON,
            "source_topic": "labels", "source_partition": 0, "source_offset": offset,
        }
        for offset in range(first, last + 1)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PERSON_LABELS.schema)


def append(history: History, first: int, last: int) -> None:
    history.append(labels(first, last), OffsetRange("labels", 0, first, last), NOON)


def test_a_name_is_taken_once_and_its_first_content_stays(files: Files) -> None:
    files.create("a/b.json", b"first")
    with pytest.raises(FileExistsError):
        files.create("a/b.json", b"second")
    assert files.read("a/b.json") == b"first"
    assert (files.names("a/"), files.names("c/")) == (["a/b.json"], [])
    with pytest.raises(FileNotFoundError):
        files.read("a/c.json")


def test_of_owners_that_extend_the_same_end_at_once_one_wins(files: Files) -> None:
    """Promise: whoever comes second conflicts, however close; the chain holds each offset once."""
    owners = [History(files, PERSON_LABELS) for _ in range(OWNERS)]

    def extend(owner: History, first: int) -> int:
        try:
            append(owner, first, first + 9)
        except HistoryConflict:
            return 0
        return 1

    with ThreadPoolExecutor(OWNERS) as pool:
        for first in range(0, 50, 10):
            assert sum(pool.map(extend, owners, [first] * OWNERS)) == 1
    assert owners[0].scan()["source_offset"].to_pylist() == list(range(50))
    assert owners[0].end("labels", 0) == 49


def test_no_reader_sees_half_a_file(files: Files) -> None:
    """Promise: while a writer extends the history every scan is a beginning of it, whole files only."""
    writer, stop, seen = History(files, PERSON_LABELS), threading.Event(), []

    def look() -> None:
        reader = History(files, PERSON_LABELS)
        while not stop.is_set():
            seen.append(sorted(reader.scan()["source_offset"].to_pylist()))

    with ThreadPoolExecutor(2) as pool:
        looking = [pool.submit(look) for _ in range(2)]
        for first in range(0, 300, 10):
            append(writer, first, first + 9)
        stop.set()
        for each in looking:
            each.result(timeout=30)
    assert all(found == list(range(len(found))) and len(found) % 10 == 0 for found in seen)
    assert len({len(found) for found in seen}) > 1


def test_an_append_whose_answer_was_lost_is_no_conflict_with_its_own_writer(files: Files) -> None:
    history = History(files, PERSON_LABELS)
    append(history, 0, 4)
    append(history, 0, 4)
    with pytest.raises(HistoryConflict):
        append(History(files, PERSON_LABELS), 0, 4)
    with pytest.raises(HistoryConflict):
        append(history, 0, 5)


def test_the_ledger_of_epochs(files: Files) -> None:
    epochs = History(files, PERSON_FEATURES).epochs
    assert (epochs.written(), epochs.current(), epochs.planned(), epochs.plan_of(1)) == (0, 0, None, None)
    assert [epochs.bind_log(0, "t", "first"), epochs.bind_log(0, "t", "second"), epochs.bind_log(1, "t", "second")] == [
        "first", "first", "second",
    ]  # fmt: skip
    plan = Plan(1, ("bmi",), 1, "1.0", NOON)
    epochs.plan(plan)
    epochs.plan(plan)
    with pytest.raises(HistoryConflict, match="another backfill"):
        epochs.plan(Plan(1, ("bmi", "shoe_size"), 1, "1.0", NOON))
    assert epochs.planned() == plan
    epochs.open(1)
    assert (epochs.written(), epochs.current(), epochs.planned()) == (1, 0, None)
    epochs.publish(1)
    assert (epochs.written(), epochs.current(), epochs.plan_of(1)) == (1, 1, plan)


def test_object_storage_that_is_away_is_told_with_its_place_and_no_secret() -> None:
    with object_storage() as uri:
        gone = open_files(f"{uri}/prefix")
        gone.create("a", b"")
    with pytest.raises(Unavailable, match=r"object storage: a in s3://habitus-tests/prefix") as told:
        gone.create("a", b"")
    assert "not-a-secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_a_worker_keeps_its_history_on_object_storage(
    kafka_bootstrap: str, redis_url: str, bucket: str, settings_for: Callable[..., Any], tmp_path: Path
) -> None:
    """Promise: killed in mid-stream and started again, with all three histories in a bucket, it loses nothing; readers follow."""
    settings = settings_for(StreamsSettings, partitions=2, offline_uri=f"{bucket}/{tmp_path.name}")
    scene = Scene(settings, tmp_path / "worker.log")
    scene.log.touch()
    ensure_topics(settings, scene.topics.all())
    try:
        send_people(scene, 600)
        scene.start(HABITUS_STREAMS_BATCH="100")
        scene.await_log("handled")
        scene.kill()
        scene.start()
        scene.drain(scene.topics.records.name, scene.topics.labels.name)
    finally:
        for worker in scene.started:
            worker.kill()
            worker.wait(timeout=5)
    found = History(open_files(settings.offline), PERSON_FEATURES).scan(["source_partition", "source_offset"])
    assert found.num_rows == len(set(map(tuple, (row.values() for row in found.to_pylist())))) == 600
    report = asyncio.run(verify(settings))
    assert (report.checked, report.holds) == (50, True), report
    joined = FeastHistory(Settings(**settings.model_dump(include=set(Settings.model_fields)))).training_set(datetime.now(UTC))
    assert len(joined.rows) == 600
