"""What counts as drift, and how it is told."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from feature_repo.reference import build_reference
from monitor.champion import Champion
from monitor.comparison import ABSENCE, Rule, compare
from monitor.words import summarise

Population = Callable[..., pd.DataFrame]
RULE = Rule(0.001, 0.005)


def drifted(champion: Champion, frame: pd.DataFrame) -> list[str]:
    verdicts = compare(champion.reference, champion.reference.counts(frame), RULE)
    return [verdict.name for verdict in verdicts if verdict.drifted]


def told(champion: Champion, frame: pd.DataFrame) -> str:
    counts = champion.reference.counts(frame)
    return summarise(champion.reference, counts, compare(champion.reference, counts, RULE))


def test_windows_of_the_same_population_rarely_alarm(champion: Champion, population: Population) -> None:
    """Promise: at a level of .001 a window, at most one of 60 (seeded; by chance more than one has probability .002)."""
    assert sum(bool(drifted(champion, population(1_000, seed=seed))) for seed in range(60)) <= 1


def test_a_scale_that_reads_four_percent_high_is_found_and_told(champion: Champion, population: Population) -> None:
    heavier = population(1_500, seed=7, weight_scale=1.04)
    assert drifted(champion, heavier) == ["weight_kg"]
    assert told(champion, heavier).startswith("weight_kg reads ")
    assert "kg higher (median 8" in told(champion, heavier)


def test_values_that_go_missing_are_found(champion: Champion, population: Population) -> None:
    """Promise: 2 % missing where nothing was missing is drift, though chi-square would call the bin too rare."""
    frame = population(1_000, seed=8)
    frame.loc[:19, "water_intake"] = np.nan
    verdicts = compare(champion.reference, champion.reference.counts(frame), RULE)
    assert [(each.name, each.test) for each in verdicts if each.drifted] == [("water_intake", ABSENCE)]
    assert told(champion, frame) == "water_intake is missing or unknown in 2.0% of the records (0.0% before)"


def test_a_category_that_nobody_knew_is_found(champion: Champion, population: Population) -> None:
    frame = population(1_000, seed=9)
    frame.loc[:29, "transport"] = "Hovercraft"
    assert "transport" in drifted(champion, frame)


def test_a_share_that_moves_is_told_by_its_value(champion: Champion, population: Population) -> None:
    frame = population(1_000, seed=10)
    frame.loc[:199, "transport"] = "Walking"
    assert "transport: Walking 3." in told(champion, frame)


def test_a_flag_is_told_as_yes_or_no(champion: Champion, population: Population) -> None:
    frame = population(1_000, seed=11)
    frame.loc[:149, "smokes"] = True
    frame.loc[:299, "family_history_overweight"] = False
    family, smokes = sorted(told(champion, frame).split("; "))
    assert family.startswith("family_history_overweight: yes 79.5% -> 55.9%")
    assert smokes.startswith("smokes: yes 2.")


def test_a_value_that_was_constant_and_changes_is_drift(champion: Champion, population: Population) -> None:
    """Promise: a reference that knows one value alone still tells another one from it."""
    known = population(1_000, seed=14).assign(smokes=False)
    reference = build_reference(known, known["obesity_level"], known["event_timestamp"])
    counts = reference.counts(population(1_000, seed=15).assign(smokes=lambda rows: rows.index % 5 == 0))
    verdicts = compare(reference, counts, RULE)
    assert "smokes" in [each.name for each in verdicts if each.drifted]
    assert summarise(reference, counts, verdicts) == "smokes: yes 0.0% -> 20.0%"


def test_a_trivial_effect_is_no_drift_however_sure(champion: Champion, population: Population) -> None:
    """Promise: what is certain in a huge window but smaller than the least effect does not alarm."""
    frame = population(1_500, seed=12, weight_scale=1.04)
    counts = champion.reference.counts(frame)
    assert not any(each.drifted for each in compare(champion.reference, counts, Rule(0.001, 5.0)))


def test_nothing_counted_is_no_drift(champion: Champion, population: Population) -> None:
    assert drifted(champion, population(0)) == []


def test_the_psi_of_a_feature_is_near_zero_without_drift(champion: Champion, population: Population) -> None:
    verdicts = compare(champion.reference, champion.reference.counts(population(1_000, seed=13)), RULE)
    assert np.mean([each.psi for each in verdicts]) == pytest.approx(0, abs=0.003)
