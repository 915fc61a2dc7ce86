"""The system as a user drives it by hand: every command against a stack that `habitus up` started."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from feature_repo.labels import LEVELS
from habitus.demo.waiting import poll

HABITUS = Path(sys.executable).with_name("habitus")
FEAST = Path(sys.executable).with_name("feast")
REPOSITORY = Path(__file__).resolve().parents[2] / "feature_repo"
ROWS, PERSONS = 2_000, 1_900
TOPICS = ("person.records", "person.labels")

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.timeout(540)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="habitus-e2e-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def run(home: Path) -> Iterator[Run]:
    """Runs a command with this test's home, from another folder than the checkout; the stack is stopped at the end."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HABITUS_")}
    environment["HABITUS_HOME"] = str(home / "stack")

    def call(*words: object, code: int = 0, program: Path = HABITUS) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, *map(str, words)], cwd=home, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == code, f"{words} exited {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done

    yield call
    call("down", "--purge")


@pytest.fixture(scope="module")
def rows(home: Path, run: Run) -> Path:
    """A simulated file, replayed into a running stack and drained."""
    file = home / "people.csv"
    run("data", "simulate", "--rows", ROWS, "--persons", PERSONS, "--seed", 5, "--out", file)
    run("up")
    _replay(file, ROWS, run)
    return file


@pytest.fixture(scope="module")
def champion(rows: Path, run: Run) -> dict[str, Any]:
    """The first model, trained from the feature store and served."""
    assert rows.exists()
    run("train", "--folds", 3, "--json")
    models: list[dict[str, Any]] = json.loads(run("models", "--json").stdout)["models"]
    assert [model["aliases"] for model in models] == [["champion"]]
    return models[0]


@pytest.fixture(scope="module")
def prediction(champion: dict[str, Any], rows: Path, run: Run) -> dict[str, Any]:
    person = _a_person(rows)

    def served() -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(run("predict", "--person-id", person, "--json").stdout)
        except AssertionError:
            return None
        return found if found["model"]["version"] == champion["version"] else None

    return poll(served, deadline_s=60, what="the champion to be served")


def test_status_shows_every_part_running(rows: Path, run: Run):
    """Promise: each part's state, address, pids and log are there for scripts."""
    assert rows.exists()
    services = json.loads(run("status", "--json").stdout)["services"]
    assert set(services) == {"kafka", "redis", "mlflow", "streams", "trainer", "predictor", "monitor"}
    assert {part["state"] for part in services.values()} == {"running"}
    assert all(psutil.pid_exists(pid) for part in services.values() for pid in part["pids"])


def test_online_equals_offline(rows: Path, run: Run):
    assert rows.exists()
    found = json.loads(run("verify", "--all", "--json").stdout)
    assert found["checked"] > 0
    assert (found["mismatched"], found["missing"], found["extra"]) == (0, 0, 0)


def test_feast_finds_the_stack_by_itself(rows: Path, run: Run):
    """Promise: Feast's own command works from any folder, with no address given."""
    assert rows.exists()
    listed = run("-c", REPOSITORY, "feature-views", "list", program=FEAST).stdout
    assert "person_features" in listed


def test_a_prediction_says_what_it_rests_on(prediction: dict[str, Any]):
    """Promise: level, probabilities by level, model, and the record behind the features."""
    assert prediction["level"] in LEVELS
    assert set(prediction["probabilities"]) == set(LEVELS)
    assert sum(prediction["probabilities"].values()) == pytest.approx(1)
    assert prediction["features"]["source_topic"] == "person.records"


def test_an_unknown_person_is_a_clear_error(prediction: dict[str, Any], run: Run):
    assert prediction
    refused = run("predict", "--person-id", "nobody", code=1)
    assert "nobody" in refused.stderr
    assert refused.stdout == ""


def test_evaluation_scores_a_file_through_the_serving_code(prediction: dict[str, Any], rows: Path, home: Path, run: Run):
    out = home / "predictions.parquet"
    found = json.loads(run("evaluate", rows, "--predictions", out, "--json").stdout)
    assert {"model_version", "rows", "accuracy", "macro_f1", "weighted_f1", "log_loss", "ece"} <= set(found)
    assert found["rows"] == ROWS
    assert found["model_version"] == prediction["model"]["version"]
    assert out.exists()


@pytest.mark.parametrize("kind", ["data-drift", "data-quality", "target-drift"])
def test_a_report_is_a_page_and_json(kind: str, champion: dict[str, Any], home: Path, run: Run):
    assert champion
    page = home / f"{kind}.html"
    run("report", kind, "--window", 300, "--out", page)
    assert "<html" in page.read_text()[:5_000].lower()


def test_drift_is_told_for_scripts(champion: dict[str, Any], home: Path, run: Run):
    """Promise: records that came after the training are compared with it, attribute by attribute."""
    later = home / "later.csv"
    run("data", "simulate", "--rows", 600, "--persons", 600, "--stretch", "production", "--source", "later", "--out", later)
    _replay(later, 600, run)
    found = json.loads(run("drift", "--window", 500, "--json").stdout)
    assert found["model_version"] == champion["version"]
    assert found["events"] == 500
    assert len(found["features"]) == 16


def test_nothing_runs_after_down_and_the_data_stay(prediction: dict[str, Any], home: Path, run: Run):
    """Promise: `down` leaves no process and keeps the data; the next `up` serves the same features at once."""
    pids = [p for part in json.loads(run("status", "--json").stdout)["services"].values() for p in part["pids"]]
    run("down")
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    run("up", "--only", "kafka,redis")
    found = json.loads(run("verify", "--all", "--json").stdout)
    assert found["checked"] > 0
    assert found["missing"] == 0
    assert prediction
    assert (home / "stack" / "offline").exists()


def _replay(file: Path, rows: int, run: Run) -> None:
    """Publish a file and wait until the stream has worked it off."""
    sent = json.loads(run("replay", file, "--json").stdout)
    assert (sent["records"], sent["labels"]) == (rows, rows)

    def drained() -> bool:
        behind = json.loads(run("status", "--json").stdout)["lag"]
        return all(behind[topic] == 0 for topic in TOPICS)

    poll(drained, deadline_s=120, what="the stream to drain")


def _a_person(rows: Path) -> str:
    header, first, *_ = rows.read_text().splitlines()
    return first.split(",")[header.split(",").index("person_id")]
