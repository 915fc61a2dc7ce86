"""A file is forced to disk before it is visible, and so is every folder on its way before the call returns.

No kill can show this, only a power cut: what a process wrote is the system's, whatever becomes of the process. So the order
of the system calls is looked at.
"""

import os
import stat
from pathlib import Path

import pytest

from feature_repo.offline.files import LocalFiles

Calls = list[tuple[str, str]]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """The calls that force to disk or make visible, in order, each with what it concerns, seen from `tmp_path`."""
    made: Calls = []
    fsync, link = os.fsync, os.link

    def told_fsync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(found.st_mode)
        made.append(("force", _name(tmp_path, found.st_ino)) if is_folder else ("force", "draft"))
        fsync(descriptor)

    def told_link(source: Path, target: Path) -> None:
        made.append(("link", Path(target).relative_to(tmp_path).as_posix()))
        link(source, target)

    monkeypatch.setattr(os, "fsync", told_fsync)
    monkeypatch.setattr(os, "link", told_link)
    return made


def _name(root: Path, inode: int) -> str:
    return next(each.relative_to(root).as_posix() for each in (root, *root.rglob("*")) if each.stat().st_ino == inode)


def test_a_draft_is_forced_to_disk_before_it_is_linked_and_its_folder_after(calls: Calls, tmp_path: Path) -> None:
    LocalFiles(tmp_path / "offline").create("data/a", b"1")
    linked = calls.index(("link", "offline/data/a"))
    assert calls.index(("force", "draft")) < linked
    assert ("force", "offline/data") in calls[linked:]


@pytest.mark.parametrize("left_by_a_killed_writer", [False, True])
def test_every_folder_on_the_way_is_forced_to_disk_whoever_made_it(
    calls: Calls, tmp_path: Path, *, left_by_a_killed_writer: bool
) -> None:
    if left_by_a_killed_writer:
        (tmp_path / "offline" / "data" / "dt=1").mkdir(parents=True)
    LocalFiles(tmp_path / "offline").create("data/dt=1/a", b"1")
    assert {("force", "offline"), ("force", "offline/data"), ("force", "offline/data/dt=1")} <= set(calls)
