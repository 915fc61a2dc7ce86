"""Makes a report and saves it as HTML for people and JSON for scripts."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from evidently import Dataset, Report

from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.reports.kinds import RECIPES, Kind, Recipe
from monitor.reports.sources import TIME


class Files(NamedTuple):
    """Where a report goes."""

    html: Path
    json: Path


@dataclass(frozen=True)
class Summary:
    """What a report is about and where it is. `since` and `until` are the event times of the current rows."""

    kind: str
    model_version: str
    reference_rows: int
    current_rows: int
    since: str
    until: str
    tests: int
    failed_tests: int
    scores: dict[str, float]
    html: str
    json: str


def make_report(kind: Kind, champion: Champion, history: OfflineHistory, window: int, files: Files) -> Summary:
    """Compare the latest `window` rows with the champion's training rows; both files are complete on return.

    Raises `NotEnoughData`, saying what to do, if there is nothing to compare.
    """
    recipe = RECIPES[kind]
    reference, current = recipe.rows(champion, history, window)
    with _quietly():
        snapshot = Report(list(recipe.metrics(current)), include_tests=True).run(
            _dataset(current, recipe), _dataset(reference, recipe)
        )
        found = json.loads(snapshot.json())
    outcomes = [test["status"] for test in found["tests"]]
    summary = Summary(
        kind=kind.value,
        model_version=champion.version,
        reference_rows=len(reference),
        current_rows=len(current),
        since=_moment(current[TIME].min()),
        until=_moment(current[TIME].max()),
        tests=len(outcomes),
        failed_tests=sum(outcome != "SUCCESS" for outcome in outcomes),
        scores=recipe.scores(current),
        html=str(files.html),
        json=str(files.json),
    )
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    with _quietly():
        snapshot.save_html(str(files.html))
    files.json.write_text(json.dumps(asdict(summary) | {"report": found}, indent=1))
    return summary


def _dataset(rows: pd.DataFrame, recipe: Recipe) -> Dataset:
    return Dataset.from_pandas(rows.drop(columns=TIME), data_definition=recipe.definition(rows))


def _moment(moment: pd.Timestamp) -> str:
    return moment.isoformat()


@contextmanager
def _quietly() -> Iterator[None]:
    """Evidently prints and warns about empty classes and columns; standard output is the caller's."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield
