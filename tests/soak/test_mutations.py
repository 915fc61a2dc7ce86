"""Each guard was seen to matter: without it, a test fails."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak.guards import GUARDS, ROOT, Guard
from tests.soak.tables import GUARDS_TRIED

TESTED_WITHIN_S = 300
FAILED = 1  # pytest's exit code: tests ran, and some failed
# A failure is enough: it need not be shrunk to the smallest one, and comes the same way each time.
PROFILE = """from hypothesis import Phase, settings

settings.register_profile("mutations", phases=[Phase.explicit, Phase.generate], derandomize=True, database=None)
settings.load_profile("mutations")
"""
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".habitus", ".hypothesis", "__pycache__", "htmlcov", ".*_cache")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project in a folder of its own, where it may be broken."""
    folder = tmp_path_factory.mktemp("mutations") / "habitus"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    (folder / "mutation_profile.py").write_text(PROFILE)
    return folder


@pytest.fixture
def broken(copy: Path, guard: Guard) -> Iterator[Path]:
    """The copy without the guard."""
    whole, broken = (copy / guard.file).read_text(), guard.taken_from(copy)
    assert broken != whole, f"{guard.file} has no {guard.old!r}"
    (copy / guard.file).write_text(broken)
    yield copy
    (copy / guard.file).write_text(whole)


def run(folder: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """Run `tests` of the project in `folder`, up to the first failure."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HABITUS_HOME", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-x", "--no-cov", "--show-capture=no", "-p", "mutation_profile", *tests],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TESTED_WITHIN_S,
        check=False,
    )


@pytest.mark.timeout(TESTED_WITHIN_S * 2)
def test_with_every_guard_in_its_place_all_tests_of_the_table_pass(copy: Path) -> None:
    """Without this the failures below would say nothing."""
    ended = run(copy, *dict.fromkeys(test for guard in GUARDS for test in guard.tests))
    assert ended.returncode == 0, ended.stdout


@pytest.mark.timeout(TESTED_WITHIN_S * 2)
@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_without_a_guard_a_test_fails(guard: Guard, broken: Path, request: pytest.FixtureRequest) -> None:
    """Promise: of the tests that the table names one fails, and not because the code could not be read."""
    ended = run(broken, *guard.tests)
    failed = next((line.split(" - ")[0] for line in ended.stdout.splitlines() if line.startswith("FAILED ")), "none failed")
    row = (guard.name, guard.keeps_from, _result(ended.returncode), failed.removeprefix("FAILED ").rpartition("::")[2])
    request.config.stash.setdefault(GUARDS_TRIED, []).append(row)
    assert ended.returncode == FAILED, f"{guard.name} is gone and nobody noticed:\n{ended.stdout[-2000:]}"


def _result(code: int) -> str:
    return {0: "NOT NOTICED", FAILED: "noticed"}.get(code, f"pytest ended with {code}")
