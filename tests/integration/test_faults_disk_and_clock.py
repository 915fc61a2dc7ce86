"""The disk is full, or the clock is wrong: the end is that of an undisturbed run.

What protects: a history file is written beside its place and linked when it is whole; nothing is acknowledged before; records
are judged by their messages' timestamps, never by a wall clock.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from streams.settings import StreamsSettings
from tests.faults.disorder import publish, require_as_expected
from tests.scene import STARTS_WITHIN_S, Scene, require_nothing_lost, send_people, staged, wait_until

pytestmark = pytest.mark.timeout(180)

_DISK_BYTES = 4 * 1024 * 1024
_LEFT_BYTES = 8 * 1024  # enough to begin a file, too little to end it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of few bytes; skips where one may not be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a file system is mounted by root on Linux alone")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", folder], check=False, capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def small_scene(
    kafka_bootstrap: str, redis_url: str, settings_for: Callable[..., StreamsSettings], tmp_path: Path, small_disk: Path
) -> Iterator[Scene]:
    """A scene whose history lies on the small disk."""
    settings = settings_for(StreamsSettings, partitions=2, offline_uri=str(small_disk / "offline"))
    with staged(settings, tmp_path / "worker.log") as made:
        yield made


def fill(folder: Path) -> Path:
    """Fill the file system of `folder` but for _LEFT_BYTES; returns the file to delete when there shall be room again."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    os.truncate(filler, filler.stat().st_size - _LEFT_BYTES)
    return filler


def read_while(holds: Callable[[], bool], scene: Scene, what: str) -> None:
    """Read both histories again and again while `holds`; a torn file would fail it."""

    def over() -> bool:
        scene.rows(PERSON_FEATURES)
        scene.rows(PERSON_LABELS)
        return not holds()

    wait_until(over, STARTS_WITHIN_S, what)


def test_a_full_disk_stops_the_worker_unacknowledged_and_readers_see_whole_files_only(
    small_scene: Scene, small_disk: Path
) -> None:
    """Promise: it tries again, then ends; when there is room another one finishes what was begun."""
    scene = small_scene
    send_people(scene, 200)
    scene.start(HABITUS_STREAMS_BATCH="100", HABITUS_STREAMS_ATTEMPTS="3")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    filler = fill(small_disk)
    send_people(scene, 600, start=200)
    assert scene.worker is not None
    read_while(lambda: scene.worker.poll() is None, scene, "the worker ends")
    assert scene.worker.returncode == 1
    assert "again in" in scene.log.read_text()
    assert scene.unacknowledged(scene.topics.records.name) > 0
    filler.unlink()
    scene.start(HABITUS_STREAMS_BATCH="150")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_nothing_lost(scene, published=800)


@pytest.mark.soak
def test_a_worker_goes_on_by_itself_when_a_full_disk_has_room_again(small_scene: Scene, small_disk: Path) -> None:
    scene = small_scene
    (small_disk / "offline").mkdir()
    filler = fill(small_disk)
    send_people(scene, 200)
    scene.start(HABITUS_STREAMS_ATTEMPTS="50")
    scene.await_log("again in")
    filler.unlink()
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_nothing_lost(scene, published=200)


def test_a_wall_clock_that_jumps_changes_no_feature_no_rejection_and_no_order(scene: Scene) -> None:
    """Promise: whatever the worker's clock says, the end is what the messages alone tell."""
    home = publish(scene)
    scene.start("tests.faults.jumping_clock", HABITUS_STREAMS_BATCH="200")
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_as_expected(scene, home)
