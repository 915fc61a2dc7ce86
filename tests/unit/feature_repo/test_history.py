"""The Parquet history: immutable, chained, created only if absent, never seen torn."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History, OffsetRange
from feature_repo.schemas import PERSON_LABELS, Dataset
from runtime.errors import BrokenHistory, HistoryConflict, InfrastructureError

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def labels(*offsets: int, partition: int = 0, topic: str = "labels") -> pa.Table:
    """A row an offset, an hour apart."""
    rows: list[dict[str, Any]] = [
        {
            "person_id": f"p{offset}",
            "event_timestamp": NOON + timedelta(hours=offset),
            "obesity_level": "Normal_Weight",
            "ingested_at": NOON,
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
        }
        for offset in offsets
    ]
    return pa.Table.from_pylist(rows, schema=PERSON_LABELS.schema)


def append(history: History, first: int, last: int, *offsets: int, partition: int = 0, topic: str = "labels") -> None:
    rows = labels(*offsets, partition=partition, topic=topic)
    history.append(rows, OffsetRange(topic, partition, first, last), NOON)


def offsets_of(tables: Any) -> list[list[int]]:
    return [table["source_offset"].to_pylist() for table in tables]


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(LocalFiles(tmp_path / "offline"), PERSON_LABELS)


def test_an_empty_history_covers_nothing(history: History) -> None:
    assert history.end("labels", 0) is None
    assert list(history.read_after("labels", 0)) == []
    assert history.scan().schema == PERSON_LABELS.schema


def test_the_end_is_the_ranges_though_the_last_record_was_rejected(history: History) -> None:
    append(history, 0, 9, 0, 4)
    assert history.end("labels", 0) == 9
    append(history, 10, 12)
    assert history.end("labels", 0) == 12


def test_a_file_is_named_by_date_topic_partition_and_first_offset(history: History, tmp_path: Path) -> None:
    append(history, 7, 9, 8, topic="a.b", partition=3)
    path = tmp_path / "offline/person_labels/dt=2024-05-01/a.b-3-00000000000000000007.parquet"
    assert pq.read_schema(path).metadata[b"habitus.offsets"] == b'{"topic": "a.b", "partition": 3, "first": 7, "last": 9}'


def test_the_same_first_offset_cannot_be_taken_twice(history: History, tmp_path: Path) -> None:
    """Promise: of two owners that extend the same end the second fails, and the first one's rows stay as they are."""
    append(history, 0, 4, 1)
    (path,) = tmp_path.rglob("*.parquet")
    before = path.read_bytes()
    with pytest.raises(HistoryConflict, match=r"labels\[0\]@0-9"):
        append(history, 0, 9, 1, 6)
    with pytest.raises(HistoryConflict, match=r"labels\[0\]@0-4"):
        append(History(history.files, PERSON_LABELS), 0, 4, 1)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_topics_and_partitions_do_not_meet(history: History) -> None:
    append(history, 0, 4, 1)
    append(history, 0, 7, 2, partition=1)
    append(history, 0, 8, 3, topic="labels-0")
    append(history, 0, 9, 4, topic="x.labels")
    assert [history.end(*shard) for shard in (("labels", 0), ("labels", 1), ("labels-0", 0), ("x.labels", 0))] == [4, 7, 8, 9]
    assert history.end("labels", 10) is None


@pytest.mark.parametrize(
    ("after", "found"),
    [
        (None, [[0, 2], [], [6, 7]]),
        (0, [[2], [], [6, 7]]),
        (2, [[], [6, 7]]),
        (4, [[], [6, 7]]),
        (5, [[6, 7]]),
        (6, [[7]]),
        (7, [[]]),
        (99, [[]]),
    ],
)
def test_reading_after_an_offset_gives_every_later_row_in_order(
    history: History, after: int | None, found: list[list[int]]
) -> None:
    append(history, 0, 2, 0, 2)
    append(history, 3, 5)
    append(history, 6, 7, 6, 7)
    assert offsets_of(history.read_after("labels", 0, after)) == found


def test_files_are_read_in_the_order_of_offsets_whatever_their_dates(history: History) -> None:
    """Promise: records that carry older times than the ones before them do not disturb the chain."""
    append(history, 0, 0, 0)
    history.append(labels(1), OffsetRange("labels", 0, 1, 1), NOON - timedelta(days=400))
    assert offsets_of(history.read_after("labels", 0)) == [[0], [1]]
    assert history.end("labels", 0) == 1


def test_a_scan_takes_columns_and_a_stretch_of_event_time(history: History) -> None:
    append(history, 0, 3, 0, 1, 2, 3)
    append(history, 0, 5, 5, partition=1)
    found = history.scan(["person_id"], since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3))
    assert found.to_pydict() == {"person_id": ["p1", "p2"]}
    assert history.scan(until=NOON).num_rows == 0
    assert history.scan().num_rows == 5


def test_a_draft_that_a_kill_left_is_not_read(history: History, tmp_path: Path) -> None:
    append(history, 0, 4, 1)
    (path,) = tmp_path.rglob("*.parquet")
    (path.parent / ".torn.parquet.tmp").write_bytes(b"half a file")
    assert history.scan().num_rows == 1
    assert history.end("labels", 0) == 4


def test_a_disk_that_fails_publishes_nothing_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "offline").write_text("not a folder")
    history = History(LocalFiles(tmp_path / "offline"), PERSON_LABELS)
    with pytest.raises(InfrastructureError, match=r"00000000\.parquet could not be written"):
        append(history.at(0), 0, 4, 1)


def test_an_append_whose_answer_was_lost_may_be_tried_again(history: History) -> None:
    """Promise: its writer knows a file for its own; a failure after the file became visible is no conflict with himself."""
    append(history, 0, 4, 1)
    append(history, 0, 4, 1)
    assert history.scan().num_rows == 1


def test_columns_that_a_version_does_not_know_are_left_out_and_those_that_a_file_lacks_are_null(tmp_path: Path) -> None:
    older, newer = (Dataset("person_labels", schema) for schema in (PERSON_LABELS.schema, _with_a_column()))
    files = LocalFiles(tmp_path)
    append(History(files, older), 0, 0, 0)
    rows = labels(1).append_column(newer.schema.field("certainty"), pa.array([0.5]))
    History(files, newer).append(rows, OffsetRange("labels", 0, 1, 1), NOON)
    read = pa.concat_tables(History(files, newer).read_after("labels", 0))
    assert read["certainty"].to_pylist() == [None, 0.5]
    assert sorted(History(files, newer).scan()["certainty"].to_pylist(), key=str) == [0.5, None]
    assert pa.concat_tables(History(files, older).read_after("labels", 0)).schema.names == older.schema.names
    assert History(files, older).scan().num_rows == 2


def test_another_writer_of_the_same_rows_conflicts(history: History) -> None:
    append(history, 0, 4, 1)
    with pytest.raises(HistoryConflict):
        append(History(history.files, PERSON_LABELS), 0, 4, 1)


def test_a_lost_file_is_told_and_its_rows_are_not_passed_over(history: History, tmp_path: Path) -> None:
    for first in (0, 5, 10):
        append(history, first, first + 4, first)
    tmp_path.joinpath("offline/person_labels/dt=2024-05-01/labels-0-00000000000000000005.parquet").unlink()
    read = history.read_after("labels", 0)
    assert next(read)["source_offset"].to_pylist() == [0]
    with pytest.raises(InfrastructureError, match=r"labels\[0\] lacks the offsets 5 to 9"):
        list(read)
    assert offsets_of(history.read_after("labels", 0, 9)) == [[10]]
    assert history.accepted("labels", 0, 0, 4) == {0}
    assert history.accepted("labels", 0, 10, 12) == {10}
    with pytest.raises(BrokenHistory):
        history.accepted("labels", 0, 0, 12)


def test_a_file_that_a_listing_missed_is_read_by_the_next_one(tmp_path: Path) -> None:
    """Promise: a listing is not of one moment, yet who reads in order passes over nothing."""
    files = Hasty(tmp_path)
    history = History(files, PERSON_LABELS)
    for first in (0, 5, 10):
        append(history, first, first + 4, first)
    files.misses = "00005.parquet"
    assert offsets_of(history.read_after("labels", 0)) == [[0], [5], [10]]


class Hasty(LocalFiles):
    """Misses a file in one listing."""

    misses = ""

    def names(self, folder: str) -> list[str]:
        found = super().names(folder)
        if self.misses and found and "dt=" in found[0]:
            found = [name for name in found if not name.endswith(self.misses)]
            self.misses = ""
        return found


def test_a_writer_builds_on_what_is_durable(tmp_path: Path) -> None:
    """Promise: a file whose writer was killed before it was forced to disk is made durable before another goes on after it."""
    files = Careful(tmp_path)
    history = History(files, PERSON_LABELS)
    append(history.at(0), 0, 4, 1)
    assert (history.end("labels", 0), files.confirmed) == (4, [])
    assert history.at(0).end("labels", 0) == 4
    assert files.confirmed == ["person_labels/dt=2024-05-01/labels-0-00000000000000000000.parquet"]


class Careful(LocalFiles):
    """Remembers what it was asked to make durable."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.confirmed: list[str] = []

    def confirm(self, name: str) -> None:
        self.confirmed.append(name)


def test_a_damaged_file_is_named(history: History, tmp_path: Path) -> None:
    append(history, 0, 4, 1)
    (path,) = tmp_path.rglob("*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BrokenHistory, match=path.name):
        history.end("labels", 0)


def _with_a_column() -> pa.Schema:
    return PERSON_LABELS.schema.append(pa.field("certainty", pa.float64()))


def test_readers_see_the_current_epoch_and_writers_theirs(history: History) -> None:
    append(history.at(0), 0, 4, 1)
    append(history.at(1), 0, 9, 1, 6)
    assert (history.end("labels", 0), history.at(1).end("labels", 0)) == (4, 9)
    history.epochs.open(1)
    assert history.scan().num_rows == 1
    history.epochs.publish(1)
    assert (history.end("labels", 0), history.scan().num_rows) == (9, 2)
    assert history.at(0).scan().num_rows == 1


@pytest.mark.parametrize(("first", "last"), [(-1, 4), (5, 4)])
def test_a_range_runs_forward(first: int, last: int) -> None:
    with pytest.raises(ValueError, match="is no range"):
        OffsetRange("labels", 0, first, last)
