"""A worker that keeps ending before it has acknowledged anything waits longer each time."""

from pathlib import Path

import pytest

from habitus.stack import services
from habitus.stack.endpoints import Endpoints
from habitus.stack.home import Home
from runtime.settings import Settings
from runtime.topics import Topics
from streams.messages import Shard
from streams.settings import StreamsSettings
from streams.supervision.crash_loops import Life, got_somewhere
from streams.supervision.progress import Progress
from streams.supervision.watchdog import Standing

LONGEST_S = 60


def crashed(folder: Path, times: int) -> None:
    for _ in range(times):
        life = Life(folder, "worker")
        life.begin()
        life.close()


def pause_s(folder: Path, longest_s: float = LONGEST_S) -> float:
    life = Life(folder, "worker")
    pause_s = life.pause_s(longest_s)
    life.close()
    return pause_s


@pytest.mark.parametrize(("crashes", "expected_s"), [(0, 0), (1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (500, 60)])
def test_the_pause_doubles_with_each_crash_and_is_bounded(tmp_path: Path, crashes: int, expected_s: float) -> None:
    crashed(tmp_path, crashes)
    assert pause_s(tmp_path) == expected_s
    assert pause_s(tmp_path, longest_s=0) == 0


def test_an_acknowledgement_breaks_the_loop_whatever_comes_then(tmp_path: Path) -> None:
    crashed(tmp_path, 3)
    life = Life(tmp_path, "worker")
    life.begin()
    life.acknowledged()
    life.acknowledged()
    life.close()
    assert pause_s(tmp_path) == 0


def test_a_worker_that_was_asked_to_stop_counts_neither_way(tmp_path: Path) -> None:
    crashed(tmp_path, 3)
    life = Life(tmp_path, "worker")
    life.begin()
    life.stopped()
    life.close()
    assert pause_s(tmp_path) == 4


def test_workers_that_share_a_home_do_not_take_each_others_crashes(tmp_path: Path) -> None:
    crashed(tmp_path, 1)
    first, second = Life(tmp_path, "worker"), Life(tmp_path, "worker")
    assert (first.failures, second.failures) == (1, 0)
    second.begin()
    first.acknowledged()
    first.close()
    second.close()
    assert (tmp_path / "worker-0.life").read_text() == "000000\n"
    assert (tmp_path / "worker-1.life").read_text() == "000001\n"


def test_a_file_that_was_torn_is_no_crash(tmp_path: Path) -> None:
    (tmp_path / "worker-0.life").write_text("\x00\x00")
    assert pause_s(tmp_path) == 0


def test_labels_that_a_crashing_worker_published_itself_are_no_way_out(tmp_path: Path) -> None:
    topics = Topics(StreamsSettings(home=tmp_path))
    records, labels = Shard(topics.records.name, 0), Shard(topics.labels.name, 0)
    progress = Progress(60)
    progress.handled(labels, 3)
    waiting = {records: Standing(0, 5), labels: Standing(7, 7)}
    assert not got_somewhere(waiting, progress, topics)
    assert got_somewhere(waiting | {records: Standing(5, 5)}, progress, topics)
    progress.handled(records, 0)
    assert got_somewhere(waiting | {records: Standing(2, 5)}, progress, topics)


def test_supervisord_never_gives_a_crashing_worker_up(tmp_path: Path) -> None:
    """Promise: before its retries are used up the pause alone is longer than what counts as a failed start."""
    part = services.part("streams", Home.at(tmp_path), Endpoints({}), Settings())
    crashed(tmp_path, part.retries - 1)
    assert pause_s(tmp_path) > part.stays_up_s
