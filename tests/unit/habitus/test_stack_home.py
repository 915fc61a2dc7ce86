"""Promises about the home folder."""

from pathlib import Path

import pytest

from habitus.stack.home import Home
from runtime.errors import HabitusError


@pytest.fixture
def home(tmp_path: Path) -> Home:
    created = Home.at(tmp_path / "state")
    created.create()
    return created


def test_ports_are_remembered_and_a_damaged_memory_is_as_none(home: Home) -> None:
    assert home.remembered_ports() == {}
    home.remember_ports({"kafka": 9092})
    assert home.remembered_ports() == {"kafka": 9092}
    for damaged in ("", "[]", "{}", '{"ports": 3}', '{"ports": {"kafka": "x"}}'):
        home.memory.write_text(damaged)
        assert home.remembered_ports() == {}


def test_a_home_is_deleted_whole(home: Home) -> None:
    home.remember_ports({})
    home.purge()
    assert not home.root.exists()
    home.purge()


def test_a_start_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    """Promise: no folder becomes a home by mistake, so none is deleted as one."""
    (tmp_path / "thesis.tex").touch()
    (tmp_path / "data").mkdir()
    with pytest.raises(HabitusError, match=r"not empty: it holds thesis\.tex$") as error:
        Home.at(tmp_path).create()
    assert "empty folder" in error.value.remedy
    assert sorted(each.name for each in tmp_path.iterdir()) == ["data", "thesis.tex"]


@pytest.mark.parametrize("name", ["data", "demo", "feast", "models", "offline", "reports", "logs"])
def test_a_start_takes_a_folder_in_which_commands_have_worked(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    Home.at(tmp_path).create()
    assert Home.at(tmp_path).run.is_dir()


def test_what_came_into_a_home_from_elsewhere_is_left_and_named(home: Home, tmp_path: Path) -> None:
    home.remember_ports({})
    (home.root / "offline").mkdir()
    (home.root / "notes").mkdir()
    (tmp_path / "precious").mkdir()
    (home.root / "data").symlink_to(tmp_path / "precious")
    assert home.purge() == ("notes",)
    assert [each.name for each in home.root.iterdir()] == ["notes"]
    assert (tmp_path / "precious").is_dir()


def test_a_folder_that_no_stack_made_is_not_deleted(home: Home) -> None:
    with pytest.raises(HabitusError, match="does not look like a habitus home"):
        home.purge()
    assert home.root.exists()


def test_the_folder_of_the_default_name_may_be_deleted_though_no_stack_ran_in_it(tmp_path: Path) -> None:
    (tmp_path / ".habitus").mkdir()
    Home.at(tmp_path / ".habitus").purge()
    assert not (tmp_path / ".habitus").exists()


@pytest.mark.parametrize("folder", [Path.home(), Path.cwd(), Path("/")])
def test_what_holds_the_user_or_the_checkout_is_never_deleted(folder: Path) -> None:
    """Promise: also if a stack was started there by mistake. (Asked, not tried.)"""
    with pytest.raises(HabitusError):
        Home.at(folder).refuse_unless_ours()


def test_only_one_start_or_stop_is_at_work(home: Home) -> None:
    with home.locked(), pytest.raises(HabitusError, match="is at work"), home.locked():
        pass
    with home.locked():
        pass


def test_a_home_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HabitusError) as error:
        Home.at(tmp_path / "file" / "home").create()
    assert "HABITUS_HOME" in error.value.remedy
