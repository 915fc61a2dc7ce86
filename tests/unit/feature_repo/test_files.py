"""Immutable files in a folder: what a failure or a kill at any moment leaves, and what the next writer makes of it."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from feature_repo.offline.files import LocalFiles, open_files
from runtime.clock import FixedClock, SystemClock
from runtime.errors import InfrastructureError

CONTENT = bytes(range(256)) * 32_000
FILES = 15


class BadDisk(LocalFiles):
    """Fails to force folders to disk while `fails` is set, and remembers which ones it forced."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.fails = False
        self.synced: list[Path] = []

    def _sync_folder(self, folder: Path) -> None:
        if self.fails:
            raise OSError(errno.EIO, "no answer")
        self.synced.append(folder)
        super()._sync_folder(folder)


@pytest.fixture
def disk(tmp_path: Path) -> BadDisk:
    disk = BadDisk(tmp_path)
    disk.create("a/known", b"")
    disk.synced.clear()
    return disk


def drafts(root: Path) -> list[Path]:
    return [path for path in root.rglob(".*") if path.is_file()]


def test_a_failure_after_the_file_became_visible_is_told_and_settled_by_the_next_try(disk: BadDisk) -> None:
    """Promise: such a file is neither taken for durable nor for another's."""
    disk.fails = True
    with pytest.raises(InfrastructureError, match="a/b could not be written"):
        disk.create("a/b", b"mine")
    assert disk.read("a/b") == b"mine"
    with pytest.raises(InfrastructureError, match="a/b could not be written"):
        disk.create("a/b", b"mine")
    disk.fails = False
    disk.create("a/b", b"mine")
    assert disk.root / "a" in disk.synced


def test_what_another_wrote_is_a_conflict_though_the_disk_failed(disk: BadDisk) -> None:
    disk.create("a/b", b"another's")
    disk.fails = True
    with pytest.raises(FileExistsError):
        disk.create("a/b", b"mine")
    assert disk.read("a/b") == b"another's"


def test_a_file_that_a_killed_writer_made_visible_is_made_durable(disk: BadDisk) -> None:
    (disk.root / "a" / "left").write_bytes(b"whole")
    disk.confirm("a/left")
    assert disk.synced == [disk.root / "a", disk.root]


def test_a_draft_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    files = LocalFiles(tmp_path)
    with pytest.raises(InfrastructureError):
        files.create("a/" + "n" * 300, b"x")
    assert (files.names(""), drafts(tmp_path)) == ([], [])


def test_a_file_where_a_folder_should_be_is_no_conflict(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(InfrastructureError):
        LocalFiles(tmp_path).create("a/b", b"")


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """Promise: a history that is not seen is not begun anew."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "dt=1").symlink_to("dt=1")
    files = LocalFiles(tmp_path)
    for attempt in (lambda: files.names("a"), lambda: files.names("a/dt=1"), lambda: files.read("a/dt=1")):
        with pytest.raises(InfrastructureError, match="could not be read"):
            attempt()


def test_drafts_of_killed_writers_are_removed_by_who_writes_next_and_those_of_living_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "a" / "dt=1").mkdir(parents=True)
    for name, age_s in (("old", 7200), ("young", 60)):
        draft = tmp_path / "a" / "dt=1" / f".{name}.tmp"
        draft.write_bytes(b"half")
        written = SystemClock().now().timestamp() - age_s
        os.utime(draft, (written, written))
    files = LocalFiles(tmp_path)
    assert files.names("a") == []
    files.create("a/dt=1/b", b"")
    assert [path.name for path in drafts(tmp_path)] == [".young.tmp"]
    later = LocalFiles(tmp_path, FixedClock(SystemClock().now() + timedelta(hours=2)))
    assert (later.remove_abandoned_drafts("a"), drafts(tmp_path), files.names("a")) == (1, [], ["a/dt=1/b"])


def test_who_reads_beside_a_writer_sees_whole_files_only(tmp_path: Path) -> None:
    """Promise: a file is there with its last byte or not at all, whatever moment it is looked for."""

    def read_each_as_soon_as_it_is_there() -> list[bytes]:
        files, found = LocalFiles(tmp_path), []
        while len(found) < FILES:
            with suppress(FileNotFoundError):
                found.append(files.read(f"a/{len(found)}"))
        return found

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read_each_as_soon_as_it_is_there) for _ in range(2)]
        writer = LocalFiles(tmp_path)
        for number in range(FILES):
            writer.create(f"a/{number}", CONTENT)
        assert all(each.result(timeout=30) == [CONTENT] * FILES for each in readers)


def test_a_folder_that_was_deleted_meanwhile_is_made_again_at_the_next_try(disk: BadDisk) -> None:
    (disk.root / "a" / "known").unlink()
    (disk.root / "a").rmdir()
    with pytest.raises(InfrastructureError):
        disk.create("a/b", b"")
    disk.create("a/b", b"")
    assert disk.names("") == ["a/b"]


def test_a_path_is_a_folder(tmp_path: Path) -> None:
    files = open_files(str(tmp_path))
    assert isinstance(files, LocalFiles)
    assert files.uri == str(tmp_path)
