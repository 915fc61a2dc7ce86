"""The window alarm: false alarms, what it finds, and its cost against Evidently's data-drift preset on the same windows.

A random 75 % of a population is the reference, windows of 1,000 of the other persons are judged, without replacement
within a split. Windows of one split are disjoint, those of different splits overlap: shares are averages over splits,
no independent trials. `HABITUS_DATA` gives the published rows; else the population is simulated.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset
from rich.console import Console
from rich.table import Table

from feature_repo.materialise import attribute_columns
from feature_repo.person import ATTRIBUTES, CATEGORIES, parse_record
from feature_repo.reference import Reference, build_reference
from habitus.data.columns import PERSON, TIME
from habitus.data.settings import DataSettings
from habitus.data.sources import open_population
from monitor.comparison import compare
from monitor.settings import MonitorSettings
from runtime.logs import hush_warnings

SPLITS, WINDOW, REFERENCE_SHARE = 50, 1_000, 0.75
TIMED = 5  # windows that Evidently judges too; it takes seconds for each
SEED = 7

Shift = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


def _weight(factor: float) -> Shift:
    return lambda rows, _: rows.assign(weight_kg=rows["weight_kg"] * factor)


def _older(rows: pd.DataFrame, _: np.random.Generator) -> pd.DataFrame:
    return rows.assign(age_years=rows["age_years"] + 3)


def _missing(rows: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    return rows.assign(water_intake=rows["water_intake"].mask(generator.random(len(rows)) < 0.02))  # noqa: PLR2004  2 %


def _driving(rows: pd.DataFrame, generator: np.random.Generator) -> pd.DataFrame:
    riders = np.flatnonzero(rows["transport"] == "Public_Transportation")
    moved = rows["transport"].to_numpy(copy=True)
    moved[generator.choice(riders, len(rows) // 20, replace=False)] = "Automobile"
    return rows.assign(transport=moved)


SHIFTS: dict[str, tuple[str, Shift]] = {
    "weight +4 %": ("weight_kg", _weight(1.04)),
    "weight +1 %": ("weight_kg", _weight(1.01)),
    "age +3 years": ("age_years", _older),
    "2 % of water_intake missing": ("water_intake", _missing),
    "5 points of public transport to car": ("transport", _driving),
}


class Split(NamedTuple):
    """A reference, the rows behind it, and windows of other persons."""

    reference: Reference
    rows: pd.DataFrame
    windows: list[pd.DataFrame]


def population() -> pd.DataFrame:
    """One row of attributes a person, and the level."""
    rows = open_population(DataSettings()).history.drop(columns=[TIME], errors="ignore")
    rows = rows.drop_duplicates(PERSON) if PERSON in rows else rows.assign(**{PERSON: "someone"})
    parsed = [parse_record(fields) for fields in rows.to_dict("records")]
    return pd.DataFrame({**attribute_columns([each.record for each in parsed]), "level": [each.level for each in parsed]})


def splits(rows: pd.DataFrame, generator: np.random.Generator) -> Iterator[Split]:
    """SPLITS random halves of `rows`."""
    size = int(REFERENCE_SHARE * len(rows))
    for _ in range(SPLITS):
        shuffled = rows.iloc[generator.permutation(len(rows))].reset_index(drop=True)
        known, other = shuffled[:size], shuffled[size:]
        windows = [other[start : start + WINDOW] for start in range(0, len(other) - WINDOW + 1, WINDOW)]
        times = pd.Series(pd.Timestamp("2025-01-01", tz="UTC"), index=known.index)
        yield Split(build_reference(known, known["level"], times), known, windows)


def judged(split: Split, window: pd.DataFrame) -> set[str]:
    """The attributes that our alarm calls drifted."""
    verdicts = compare(split.reference, split.reference.counts(window), MonitorSettings().rule)
    return {verdict.name for verdict in verdicts if verdict.drifted}


def judged_by_evidently(split: Split, window: pd.DataFrame) -> set[str]:
    """The attributes that Evidently's preset calls drifted."""
    numbers = [name for name in ATTRIBUTES if name not in CATEGORIES]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=list(CATEGORIES))
    current, reference = (Dataset.from_pandas(rows[list(ATTRIBUTES)], definition) for rows in (window, split.rows))
    found = Report([DataDriftPreset()], include_tests=True).run(current, reference).dict()
    return {test["name"] for test in found["tests"] if test["status"].value == "FAIL"}


def timed(judge: Callable[[Split, pd.DataFrame], set[str]], split: Split, window: pd.DataFrame) -> float:
    """Events a second of one judgement."""
    started = time.perf_counter()
    judge(split, window)
    return len(window) / (time.perf_counter() - started)


def main() -> None:
    """Measure and print."""
    hush_warnings()
    generator = np.random.default_rng(SEED)
    quiet: list[bool] = []
    found: dict[str, list[bool]] = {name: [] for name in SHIFTS}
    ratios: list[float] = []
    for split in splits(population(), generator):
        quiet += [not judged(split, window) for window in split.windows]
        for name, (attribute, shift) in SHIFTS.items():
            found[name].append(attribute in judged(split, shift(split.windows[0], generator)))
        if len(ratios) < TIMED:
            ours, theirs = timed(judged, split, split.windows[0]), timed(judged_by_evidently, split, split.windows[0])
            ratios.append(ours / theirs)
    table = Table("windows of 1,000", "windows", "share with an alarm", box=None)
    table.add_row("no drift, any attribute", f"{len(quiet):,}", f"{1 - np.mean(quiet):.3f}")
    for name, hits in found.items():
        table.add_row(name, str(len(hits)), f"{np.mean(hits):.2f}")
    Console().print(table)
    summary = {
        "runs": len(quiet),
        "false_alarms": quiet.count(False),
        "promised_rate": MonitorSettings().monitor_level,
        "found": {name: round(float(np.mean(hits)), 3) for name, hits in found.items()},
        "ratio_to_evidently": round(float(np.median(ratios)), 1),
    }
    print(json.dumps(summary))  # noqa: T201  the last line is for scripts


if __name__ == "__main__":
    main()
