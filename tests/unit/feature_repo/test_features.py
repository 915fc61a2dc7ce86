"""What the feature table and its formulas promise."""

import doctest
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo import features
from feature_repo.features import BY_NAME, FEATURE_NAMES, FEATURES, derive
from feature_repo.person import ATTRIBUTES, CATEGORIES, FLAGS
from feature_repo.schemas import PERSON_FEATURES
from tests.ranges import RANGES

REQUIRED = {"gender", "age_years", "height_m", "weight_kg"}


@st.composite
def columns(draw: st.DrawFn, rows: st.SearchStrategy[int] | None = None) -> dict[str, Any]:
    """Attributes of some persons, optional ones missing now and then."""
    count = draw(rows or st.integers(1, 12))
    drawn: dict[str, Any] = {}
    for name in ATTRIBUTES:
        if name in CATEGORIES:
            values: st.SearchStrategy[Any] = st.sampled_from(CATEGORIES[name])
            missing, dtype = None, object
        else:
            values = st.sampled_from([0.0, 1.0]) if name in FLAGS else st.floats(*RANGES[name])
            missing, dtype = np.nan, np.float64
        if name not in REQUIRED:
            values = values | st.just(missing)
        drawn[name] = np.array(draw(st.lists(values, min_size=count, max_size=count)), dtype=dtype)
    return drawn


def test_every_formula_has_an_executed_example():
    """Promise: each derived feature shows an example that is run, and states its unit and source."""
    finder = doctest.DocTestFinder()
    exampled = {test.name for test in finder.find(features) if test.examples}
    assert {feature.compute.__name__ for feature in FEATURES if feature.compute} <= {name.split(".")[-1] for name in exampled}
    assert doctest.testmod(features).failed == 0
    assert all(feature.unit and feature.description and feature.source for feature in FEATURES)


def test_names_are_unique_and_the_history_has_them_in_order():
    assert len(set(FEATURE_NAMES)) == len(FEATURE_NAMES)
    assert [name for name in PERSON_FEATURES.schema.names if name in BY_NAME] == list(FEATURE_NAMES)


@given(columns())
def test_a_row_does_not_depend_on_the_rows_beside_it(given_columns: dict[str, Any]):
    """Promise: a batch gives bit for bit what its rows give one by one, wherever it is cut."""
    together = derive(given_columns)
    for row in range(len(given_columns["gender"])):
        alone = derive({name: values[row : row + 1] for name, values in given_columns.items()})
        for name, values in alone.items():
            assert values.tobytes() == np.asarray(together[name])[row : row + 1].tobytes(), name


@given(columns())
def test_a_derived_value_is_missing_only_where_an_optional_input_is(given_columns: dict[str, Any]):
    """Promise: required attributes always give the body's measures; habits' features are missing only with their inputs."""
    derived = derive(given_columns)
    for name in ("bmi", "bsa_m2", "ideal_weight_kg", "weight_excess_kg", "bmr_kcal"):
        assert np.isfinite(derived[name]).all(), name
    activity_missing = np.isnan(given_columns["physical_activity_frequency"])
    assert (np.isnan(derived["pal"]) == activity_missing).all()
    assert (np.isnan(derived["tdee_kcal"]) == activity_missing).all()


@given(columns())
def test_flags_are_flags_and_habits_are_counted_to_six(given_columns: dict[str, Any]):
    derived = derive(given_columns)
    for name in ("sufficient_water", "is_sedentary", "ideal_main_meals", "vegetables_every_main_meal"):
        assert set(np.unique(derived[name][~np.isnan(derived[name])])) <= {0.0, 1.0}, name
    habits = derived["healthy_habits"]
    assert all(value in range(7) for value in habits[~np.isnan(habits)])


@given(st.floats(0, 3), st.floats(0, 3))
def test_activity_never_lowers_the_activity_level(one: float, other: float):
    low, high = features.pal({"physical_activity_frequency": np.array(sorted((one, other)))})
    assert low <= high
    assert 1.2 <= low <= high <= 1.725 + 1e-12


@pytest.mark.parametrize("feature", [f for f in FEATURES if f.compute], ids=lambda f: f.name)
def test_a_formula_names_its_source(feature: features.Feature):
    """Promise: a formula or threshold says where it comes from, or what it is composed of."""
    assert re.search(r"\d{4}|`|survey|Physiology|WHO|scale|ideal weight", feature.description), feature.description
