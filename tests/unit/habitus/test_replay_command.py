"""`habitus replay` and `habitus data` at the command line: options are read, mistakes are answered with what is right."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from habitus.commands import data, replay
from habitus.commands.replay import duration, moment, per_second

app = typer.Typer()
data.register(app)
replay.register(app)


def run(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.mark.parametrize(("text", "days"), [("7d", 7), ("12h", 0.5), ("0s", 0), ("1w", 7), ("1.5d", 1.5)])
def test_durations(text: str, days: float) -> None:
    assert duration(text) == timedelta(days=days)


@pytest.mark.parametrize("text", ["7", "d", "-7d", "7 days"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 7d"):
        duration(text)


def test_rates() -> None:
    assert (per_second("500/s"), per_second("2.5"), per_second(None)) == (500.0, 2.5, None)
    with pytest.raises(typer.BadParameter, match="500/s"):
        per_second("0/s")


def test_an_anchor_needs_a_zone() -> None:
    assert moment("2025-01-01T00:00:00Z") == datetime(2025, 1, 1, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match="zone"):
        moment("2025-01-01T00:00:00")
    with pytest.raises(typer.BadParameter, match="no time"):
        moment("tomorrow")


@pytest.mark.parametrize(
    "arguments",
    [("--label-delay", "soon"), ("--anchor", "2025-01-01"), ("--rate", "fast"), ("--limit", "0"), ("--stretch", "future")],
)
def test_a_wrong_option_of_replay_is_a_usage_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert run("replay", str(tmp_path / "rows.csv"), *arguments).exit_code == 2


def test_simulated_rows_can_be_described(tmp_path: Path) -> None:
    out = str(tmp_path / "rows.jsonl")
    made = run("data", "simulate", "--rows", "90", "--persons", "50", "--seed", "3", "--out", out, "--json")
    assert json.loads(made.stdout)["persons"] == 50
    described = json.loads(run("data", "describe", out, "--json").stdout)["files"][out]
    assert (described["rows"], described["persons"]) == (90, 50)
    assert sum(described["levels"].values()) == 90
    assert all(attribute["missing"] == attribute["unreadable"] == 0 for attribute in described["attributes"])
    assert "Obesity_Type_III" in run("data", "describe", out).stdout


def test_what_is_missing_or_unreadable_is_described(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("Gender,Age,Weight,NObeyesdad\nMale,old,\nFemale,20,60,Oddness\n".replace("old,\n", "old,,\n"))
    described = json.loads(run("data", "describe", str(file), "--json").stdout)["files"][str(file)]
    by_name = {attribute["name"]: attribute for attribute in described["attributes"]}
    assert (by_name["Age"]["unreadable"], by_name["Weight"]["missing"], by_name["Age"]["highest"]) == (1, 1, 20.0)
    assert described["levels"] == {"Oddness": 1}
    assert "Height" in described["missing_columns"]
    assert "missing columns" in run("data", "describe", str(file)).stdout


def test_a_fetch_that_reaches_nobody_says_so_and_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABITUS_HOME", str(tmp_path))
    monkeypatch.setenv("HABITUS_UCI_URL", "http://127.0.0.1:1/")
    result = run("data", "fetch", "--json")
    assert result.exit_code == 1
    assert all(each["problem"] for each in json.loads(result.stdout)["files"])
    assert "KAGGLE_USERNAME" in run("data", "fetch").stdout
