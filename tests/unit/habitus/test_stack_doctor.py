"""Promises about what `habitus doctor` finds."""

import os
import sys
from pathlib import Path

import pytest

from habitus.stack import doctor
from habitus.stack.home import Home


@pytest.mark.parametrize(("version", "ok"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_only_supported_pythons_pass(version: tuple[int, int], ok: bool) -> None:
    assert doctor.python(version).ok is ok


def test_a_misspelt_variable_is_answered_with_the_right_one() -> None:
    (found,) = doctor.unknown_variables({"HABITUS_KAFKA_BOOTSTRP": "x", "HABITUS_REDIS_URL": "y", "PATH": "/bin"})
    assert (found.ok, found.required, found.remedy) == (False, False, "did you mean HABITUS_KAFKA_BOOTSTRAP?")
    assert "HABITUS_KAFKA_BOOTSTRP" in found.detail


def test_every_variable_that_somebody_reads_is_known() -> None:
    read = ["HABITUS_HOME", "HABITUS_CACHE", "HABITUS_DATA", "HABITUS_PARTITIONS", "HABITUS_STACK", "HABITUS_STACK_PART"]
    assert list(doctor.unknown_variables(dict.fromkeys(read, "1"))) == []


def test_a_port_that_is_taken_is_worth_a_note_but_no_obstacle(tmp_path: Path) -> None:
    found = {each.check: each for each in doctor.ports(Home.at(tmp_path), free=lambda port: port != 6379)}
    assert (found["port redis"].ok, found["port redis"].required) == (False, False)
    assert found["port kafka"].ok


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_cannot_be_written_is_named_with_its_variable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    found = doctor.writable("home", tmp_path / "home", "HABITUS_HOME")
    assert (found.ok, found.remedy) == (False, "set HABITUS_HOME to a folder of yours")


def test_a_folder_that_would_be_made_may_be_looked_at_without_making_it(tmp_path: Path) -> None:
    assert doctor.writable("home", tmp_path / "a" / "b", "HABITUS_HOME").ok
    assert doctor.disk(tmp_path / "a" / "b").detail
    assert not (tmp_path / "a").exists()


def test_a_data_folder_without_its_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "train.csv").touch()
    found = doctor.data({"HABITUS_DATA": str(tmp_path)})
    assert (found.ok, found.required) == (False, False)
    assert "current.csv" in found.detail
    assert doctor.data({}).ok


def test_on_a_machine_that_runs_these_tests_nothing_required_is_missing(tmp_path: Path) -> None:
    findings = doctor.examine(Home.at(tmp_path))
    assert [each for each in findings if each.required and not each.ok] == []
    assert all(each.remedy for each in findings if not each.ok)
    assert f"{sys.version_info[0]}.{sys.version_info[1]}" in findings[0].detail
