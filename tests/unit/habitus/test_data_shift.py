"""Drift scenarios change what they name and nothing else."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.person import ALIASES
from habitus.data.columns import LEVEL
from habitus.data.identity import Stretch
from habitus.data.shift import Shift
from habitus.data.simulator import simulate
from runtime.errors import HabitusError

ROWS = simulate(400, stretch=Stretch.named("production"), seed=4)


def changed_columns(shift: Shift, rows: pd.DataFrame = ROWS) -> set[str]:
    shifted = shift.apply(rows)
    return {str(name) for name in rows if not shifted[name].equals(rows[name])}


def test_no_shift_changes_nothing() -> None:
    assert changed_columns(Shift()) == set()


def test_a_scale_that_reads_too_high_changes_weights_alone() -> None:
    """The levels stay: the people are the same, only their scale is wrong."""
    assert changed_columns(Shift(weight_scale=1.04)) == {"Weight"}
    assert Shift(weight_scale=1.04).apply(ROWS)["Weight"].to_numpy() == pytest.approx(ROWS["Weight"] * 1.04, abs=6e-4)


def test_an_older_population_changes_ages_alone_and_stays_within_the_record_s_range() -> None:
    assert changed_columns(Shift(age=5)) == {"Age"}
    assert Shift(age=300).apply(ROWS)["Age"].max() == 120


def test_a_heavier_population_moves_to_higher_levels() -> None:
    shifted = Shift(heavier=8).apply(ROWS)
    assert changed_columns(Shift(heavier=8)) == {"Weight", LEVEL}
    obese = [rows[LEVEL].str.startswith("Obesity").mean() for rows in (ROWS, shifted)]
    assert obese[1] > obese[0] + 0.05


def test_new_habits_befall_the_share_that_was_asked_for() -> None:
    shifted = Shift(habits=0.5).apply(ROWS)
    assert changed_columns(Shift(habits=0.5)) == {"FAF", "TUE", "MTRANS", "CAEC", "FAVC"}
    old = (ROWS["MTRANS"] == "Automobile").mean()
    assert (shifted["MTRANS"] == "Automobile").mean() == pytest.approx(old + 0.5 * (1 - old), abs=0.08)
    assert shifted["FAF"].min() >= 0
    assert shifted["TUE"].max() <= 2


@pytest.mark.parametrize("shift", [Shift(weight_scale=1.04), Shift(age=2), Shift(heavier=3), Shift(habits=0.4)])
def test_the_record_s_own_column_names_are_shifted_alike(shift: Shift) -> None:
    own = ROWS.rename(columns=ALIASES)
    assert changed_columns(shift, own) == {ALIASES.get(name, name) for name in changed_columns(shift)}


def test_cells_that_hold_no_number_stay_as_they_are() -> None:
    rows = pd.DataFrame({"Weight": [80.0, "heavy", None], "Gender": ["Male"] * 3})
    assert Shift(weight_scale=1.5).apply(rows)["Weight"].tolist() == [120.0, "heavy", None]


def test_flags_stay_flags() -> None:
    rows = pd.DataFrame({"high_caloric_food": [False, None, False], "physical_activity_frequency": [2.0, 1.0, np.nan]})
    assert Shift(habits=1).apply(rows)["high_caloric_food"].tolist() == [True, True, True]


def test_rows_without_levels_or_attributes_can_be_shifted() -> None:
    rows = pd.DataFrame({"weight_kg": [70.0]})
    assert Shift(heavier=5, age=1, habits=1).apply(rows)["weight_kg"].tolist() == [75.0]


@given(seed=st.integers(0, 1_000))
def test_the_same_seed_shifts_alike(seed: int) -> None:
    shift = Shift(habits=0.3, heavier=4)
    pd.testing.assert_frame_equal(shift.apply(ROWS, seed=seed), shift.apply(ROWS, seed=seed))


def test_shifts_are_read_from_the_command_line() -> None:
    assert Shift.parse(["weight-scale=1.04", "age=+5"]) == Shift(weight_scale=1.04, age=5)


@pytest.mark.parametrize("text", ["weight=1", "weight-scale", "age=old", "weight-scale=0", "habits=1.5"])
def test_a_wrong_shift_is_refused_with_the_right_ones_named(text: str) -> None:
    with pytest.raises(HabitusError) as refused:
        Shift.parse([text])
    assert "weight-scale=1.04" in refused.value.remedy
