"""Local copies of models: whole or fetched again, and not for ever."""

import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.adapters.local_copies import CONTENTS, LocalCopies, name_of
from runtime.errors import Unavailable
from runtime.registry import ModelVersion
from tests.fake_registry import HandClock, version

FILES = {"MLmodel": b"flavors: {}", "model.pkl": b"\x80" * 900, "reference/bins.json": b"{}"}


class FakeRegistry:
    """Writes the same files for every version, into a folder of its own below the one it is given, as MLflow does."""

    def __init__(self) -> None:
        self.down = False
        self.downloads: list[str] = []

    def download(self, version: ModelVersion, folder: Path) -> Path:
        if self.down:
            raise Unavailable("mlflow", "gone")
        self.downloads.append(version.version)
        for name, content in FILES.items():
            (folder / "model" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "model" / name).write_bytes(content)
        return folder / "model"


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def copies(registry: FakeRegistry, root: Path, hand_clock: HandClock) -> LocalCopies:
    return LocalCopies(root, registry.download, hand_clock)


def names(root: Path) -> set[str]:
    return {each.name for each in root.iterdir()}


def test_a_version_is_fetched_once(copies: LocalCopies, registry: FakeRegistry):
    for _ in range(3):
        folder = copies.fetch(version(1))
    assert registry.downloads == ["1"]
    assert {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()} == {*FILES, CONTENTS}


def test_the_same_number_from_another_registry_has_a_folder_of_its_own(copies: LocalCopies):
    assert copies.fetch(version(1)) != copies.fetch(version(1, source="m-2"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(torn=st.sampled_from([*FILES, CONTENTS]), how=st.sampled_from(["gone", "empty", "cut", "changed", "beside"]))
def test_a_torn_copy_is_told_and_fetched_again(copies: LocalCopies, registry: FakeRegistry, torn: str, how: str):
    """Promise: whatever file is missing, cut short, changed or put beside the others, no model is loaded from it."""
    folder = copies.fetch(version(1))
    file, content = folder / torn, (folder / torn).read_bytes()
    if how == "gone":
        file.unlink()
    elif how == "beside":
        file.with_suffix(".more").write_bytes(b"")
    else:
        file.write_bytes({"empty": b"", "cut": content[:-1], "changed": content[:-1] + bytes([content[-1] ^ 1])}[how])
    assert copies.folder(name_of(version(1))) is None
    before = len(registry.downloads)
    assert copies.is_whole(copies.fetch(version(1)))
    assert len(registry.downloads) == before + 1


def test_a_removed_copy_is_fetched_again(copies: LocalCopies, registry: FakeRegistry):
    copies.fetch(version(1))
    copies.tidy((), kept=0)
    copies.fetch(version(1))
    assert registry.downloads == ["1", "1"]


def test_a_torn_copy_without_a_registry_is_unavailable(copies: LocalCopies, registry: FakeRegistry):
    (copies.fetch(version(1)) / "model.pkl").unlink()
    registry.down = True
    with pytest.raises(Unavailable):
        copies.fetch(version(1))


def test_a_download_that_breaks_off_leaves_nothing(copies: LocalCopies, registry: FakeRegistry, root: Path):
    copies.fetch(version(1))
    registry.down = True
    with pytest.raises(Unavailable):
        copies.fetch(version(2))
    assert names(root) == {name_of(version(1))}


def test_who_comes_second_takes_the_copy_of_who_came_first(copies: LocalCopies, registry: FakeRegistry, root: Path):
    """Promise: of two processes that fetch one version at once the slower one leaves alone what the faster one may be loading."""

    def both(wanted: ModelVersion, folder: Path) -> Path:
        first.append((copies.fetch(wanted) / "MLmodel").stat().st_ino)
        return registry.download(wanted, folder)

    first: list[int] = []
    second = LocalCopies(root, both, HandClock())
    assert [(second.fetch(version(1)) / "MLmodel").stat().st_ino] == first
    assert names(root) == {name_of(version(1))}


def test_who_comes_between_the_last_look_and_the_renaming_wins(copies: LocalCopies, registry: FakeRegistry, root: Path):
    class Slow(LocalCopies):
        def _remove(self, folder: Path) -> None:
            super()._remove(folder)
            copies.fetch(version(1))

    second = Slow(root, registry.download, HandClock())
    assert second.is_whole(second.fetch(version(1)))
    assert names(root) == {name_of(version(1))}


def test_a_folder_that_cannot_be_written_is_unavailable(registry: FakeRegistry, tmp_path: Path, hand_clock: HandClock):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(Unavailable, match="cannot be written"):
        LocalCopies(tmp_path / "file", registry.download, hand_clock).fetch(version(1))


def test_code_that_a_model_brings_may_be_compiled_into_its_copy(copies: LocalCopies):
    folder = copies.fetch(version(1))
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "own.pyc").write_bytes(b"")
    assert copies.is_whole(folder)


def test_old_copies_go_but_those_in_use_and_a_few(copies: LocalCopies, root: Path, hand_clock: HandClock):
    for number in (1, 2, 3, 4, 5, 1):
        copies.fetch(version(number))
        hand_clock.turn(timedelta(minutes=1))
    copies.tidy({name_of(version(2))}, kept=2)
    assert names(root) == {name_of(version(number)) for number in (1, 2, 5)}


def test_what_killed_processes_left_goes_after_a_time_and_notes_stay(copies: LocalCopies, root: Path, hand_clock: HandClock):
    for name, age in ((".left", timedelta(hours=2)), (".running", timedelta(minutes=5))):
        (root / name).mkdir(parents=True)
        at_s = (hand_clock.now() - age).timestamp()
        os.utime(root / name, (at_s, at_s))
    (root / "champion.json").write_text("{}")
    copies.tidy((), kept=0)
    assert names(root) == {".running", "champion.json"}


def test_tidying_where_nothing_is_does_nothing(copies: LocalCopies):
    copies.tidy((), kept=0)
