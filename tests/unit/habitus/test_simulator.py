"""The simulated population keeps the statistics that it is drawn from, and its seed."""

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.labels import LEVELS, parse_label
from feature_repo.person import parse_record
from habitus.data.calibrate import SMALLEST_CELL, calibrate
from habitus.data.columns import GENDER, HEIGHT, LEVEL, ORDERED_VALUES, PERSON, TIME, WEIGHT
from habitus.data.copula import latent_of, observe
from habitus.data.identity import Stretch
from habitus.data.messages import Plan, ReplayOptions
from habitus.data.simulator import MOST_RECORDS, simulate
from habitus.data.statistics import BMI, DIMENSIONS, PERSISTENT, PROBABILITIES, Cell, load_statistics
from runtime.errors import HabitusError

HISTORY = Stretch.named("history")
STATISTICS = load_statistics()


def distance(drawn: npt.ArrayLike, calibrated: npt.ArrayLike) -> float:
    """Mean distance of two quantile grids, as a share of the calibrated range: a Wasserstein distance."""
    return float(np.trapezoid(np.abs(np.subtract(drawn, calibrated)), PROBABILITIES) / max(np.ptp(calibrated), 1e-3))


@pytest.fixture(scope="module")
def population() -> pd.DataFrame:
    rows = simulate(20_000, stretch=HISTORY, seed=5)
    return rows.assign(**{BMI: rows[WEIGHT] / rows[HEIGHT] ** 2})


def test_shares_of_level_and_gender_are_the_calibrated_ones(population: pd.DataFrame) -> None:
    drawn = population.groupby([LEVEL, GENDER]).size() / len(population)
    for cell in STATISTICS.cells:
        assert drawn[cell.level, cell.gender] == pytest.approx(cell.share, abs=0.015)


@pytest.mark.parametrize("cell", STATISTICS.cells, ids=lambda cell: f"{cell.level}-{cell.gender}")
def test_within_a_level_and_gender_the_quantiles_and_shares_are_the_calibrated_ones(population: pd.DataFrame, cell: Cell) -> None:
    """Also after persons moved between levels over time: the rule of the walk keeps class-conditional statistics."""
    rows = population[(population[LEVEL] == cell.level) & (population[GENDER] == cell.gender)]
    for name in cell.quantiles:
        assert distance(np.quantile(rows[name], PROBABILITIES), cell.quantiles[name]) < 0.05, name
    for name, shares in cell.categories.items():
        for value, share in shares.items():
            assert (rows[name] == value).mean() == pytest.approx(share, abs=0.08), (name, value)


def test_later_records_have_the_same_bmi_within_a_level_as_first_ones(population: pd.DataFrame) -> None:
    first = population.groupby(PERSON).cumcount() == 0
    means = [population[rows].groupby(LEVEL)[BMI].mean() for rows in (first, ~first)]
    assert np.abs(means[0] - means[1]).max() < 0.5


def test_people_round_as_they_do_in_the_published_data(population: pd.DataFrame) -> None:
    assert (population[WEIGHT] % 1 == 0).mean() == pytest.approx(0.43, abs=0.03)
    assert (population["Age"] % 1 == 0).mean() == pytest.approx(0.505, abs=0.03)


def test_a_person_keeps_height_gender_and_family_history_and_only_grows_older(population: pd.DataFrame) -> None:
    persons = population.groupby(PERSON)
    for name in (HEIGHT, GENDER, "family_history_with_overweight"):
        assert (persons[name].first() == persons[name].last()).all()
        assert len(population[[PERSON, name]].drop_duplicates()) == len(persons)
    assert persons["Age"].diff().dropna().min() >= 0
    assert persons["Age"].agg(np.ptp).max() <= 1


def test_weight_moves_in_small_steps_and_some_persons_change_level(population: pd.DataFrame) -> None:
    persons = population.groupby(PERSON)
    steps = persons[WEIGHT].diff().dropna().abs()
    assert 0 < steps.median() < 2
    assert steps.quantile(0.95) < 6
    moved = persons[LEVEL].first() != persons[LEVEL].last()
    assert 0.02 < moved.mean() < 0.2


def test_every_row_is_a_valid_record_and_label(population: pd.DataFrame) -> None:
    plan = Plan(population.head(2_000), ReplayOptions("simulated"), now=HISTORY.end + timedelta(days=1))
    for number in range(0, 2_000, 7):
        parse_record(plan._record(number))
        parse_label(plan._label(number), HISTORY.end + timedelta(days=1))


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 2**32), persons=st.integers(1, 40), data=st.data())
def test_the_same_seed_gives_the_same_rows_of_as_many_persons_as_asked(seed: int, persons: int, data: st.DataObject) -> None:
    rows = data.draw(st.integers(persons, MOST_RECORDS * persons))
    drawn = simulate(rows, persons=persons, seed=seed, stretch=HISTORY)
    pd.testing.assert_frame_equal(drawn, simulate(rows, persons=persons, seed=seed, stretch=HISTORY))
    assert len(drawn) == rows
    assert drawn[PERSON].nunique() == persons
    assert drawn[PERSON].value_counts().max() <= MOST_RECORDS
    assert drawn[TIME].between(HISTORY.start, HISTORY.end, inclusive="left").all()
    assert drawn[TIME].is_monotonic_increasing
    assert set(drawn[LEVEL]) <= set(LEVELS)
    assert not drawn.isna().any().any()


def test_other_seeds_give_other_rows() -> None:
    assert not simulate(50, seed=1, stretch=HISTORY).equals(simulate(50, seed=2, stretch=HISTORY))


@pytest.mark.parametrize(("rows", "persons"), [(5, 6), (9, 2), (5, 0)])
def test_an_impossible_number_of_persons_is_refused_with_a_remedy(rows: int, persons: int) -> None:
    with pytest.raises(HabitusError, match="cannot have") as refused:
        simulate(rows, persons=persons, stretch=HISTORY)
    assert "--persons" in refused.value.remedy


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1_000), cell=st.sampled_from(STATISTICS.cells))
def test_latent_normals_give_back_the_attributes_that_they_were_found_from(seed: int, cell: Cell) -> None:
    normals = np.random.default_rng(seed).standard_normal((20, len(DIMENSIONS))) @ cell.factor.T
    columns = observe(cell, np.clip(normals, -2.5, 2.5))
    again = observe(cell, latent_of(cell, columns))
    for name, values in columns.items():
        if name in ORDERED_VALUES:
            assert (again[name] == values).all(), name
        else:
            assert again[name].astype(float) == pytest.approx(values.astype(float), abs=2e-6), name


def test_the_statistics_are_aggregates_of_cells_that_are_not_small() -> None:
    assert STATISTICS.rows * min(cell.share for cell in STATISTICS.cells) >= SMALLEST_CELL
    assert DIMENSIONS[: len(PERSISTENT)] == PERSISTENT
    assert all(len(grid) == len(PROBABILITIES) for cell in STATISTICS.cells for grid in cell.quantiles.values())


def test_calibration_on_simulated_rows_finds_the_statistics_again() -> None:
    """Calibration and simulation are each other's inverse, but for the noise of 6,000 rows."""
    rows = simulate(6_000, persons=6_000, seed=3, stretch=HISTORY)
    found = {(cell.level, cell.gender): cell for cell in calibrate(rows).cells}
    for cell in STATISTICS.cells:
        again = found[cell.level, cell.gender]
        assert again.share == pytest.approx(cell.share, abs=0.02)
        assert np.corrcoef(again.correlation, cell.correlation)[0, 1] > 0.6
        for name in cell.quantiles:
            assert distance(again.quantiles[name], cell.quantiles[name]) < 0.08, name
