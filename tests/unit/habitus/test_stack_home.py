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
