"""A compiled booster answers as LightGBM's own, whatever booster it is and whatever it is asked."""

from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.trees.booster import compile_booster
from predictor.trees.model_text import UnsupportedBooster

Floats = npt.NDArray[np.float64]
FEATURES, ROWS, ASKED = 5, 160, 200
TOLERANCE = 1e-12
# What no training row holds, or what LightGBM takes for something else: missing, endless, almost zero, no category.
ODD = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, -1e-36, 2e-35, -1.0, -0.5, 0.5, 63.0, 64.0, 1e9, 3e9, -3e9, 1e300])


def drawn_rows(generator: np.random.Generator, rows: int, categories: int, missing: float, zeros: float) -> Floats:
    """Two numbers, a whole number, and two categories; some missing, some zero."""
    numbers = np.round(generator.normal(size=(rows, 2)), 1)
    whole = generator.integers(-3, 4, size=(rows, 1))
    chosen = generator.integers(0, categories, size=(rows, 2))
    found = np.hstack([numbers, whole, chosen]).astype(np.float64)
    found[generator.random(found.shape) < zeros] = 0.0
    found[generator.random(found.shape) < missing] = np.nan
    return found


def trained(seed: int, params: dict[str, Any], *, categories: int = 5, missing: float = 0.1, classes: int = 3) -> lgb.Booster:
    generator = np.random.default_rng(seed)
    rows = drawn_rows(generator, ROWS, categories, missing, zeros=0.2)
    levels = (np.nan_to_num(rows[:, 0] + rows[:, 3]) * 2 + generator.normal(size=ROWS)).astype(int) % classes
    quiet = {
        "objective": "multiclass",
        "num_class": classes,
        "verbosity": -1,
        "num_threads": 1,
        "min_data_in_leaf": 2,
        "seed": seed,
    }
    data = lgb.Dataset(rows, levels, categorical_feature=[3, 4], params={"verbosity": -1, **params})
    return lgb.train({**quiet, "seed": seed, **params}, data, num_boost_round=8)


def asked(booster: lgb.Booster, seed: int) -> Floats:
    """Rows of usual and of odd values, and of every threshold and the numbers next to it."""
    generator = np.random.default_rng(seed + 1)
    usual = drawn_rows(generator, ASKED, 9, 0.1, zeros=0.1)
    frame = booster.trees_to_dataframe()
    told = [float(each) for each in frame["threshold"].dropna() if "||" not in str(each)]
    near = [neighbour for each in told for neighbour in (each, np.nextafter(each, np.inf), np.nextafter(each, -np.inf))]
    values = np.concatenate([ODD, near])
    odd = generator.choice(values, size=(ASKED, FEATURES))
    mixed = np.where(generator.random((ASKED, FEATURES)) < 0.5, usual, odd)
    return np.vstack([usual, odd, mixed])


def agree(booster: lgb.Booster, rows: Floats) -> None:
    compiled = compile_booster(booster.model_to_string())
    assert (compiled.raw_scores(rows) == booster.predict(rows, raw_score=True, num_threads=1)).all()
    expected = booster.predict(rows, num_threads=1)
    assert np.abs(compiled.predict(rows) - expected).max() <= TOLERANCE
    one_by_one = np.vstack([compiled.predict(rows[[place]]) for place in range(0, len(rows), 17)])
    assert (one_by_one == compiled.predict(rows)[::17]).all()


PARAMS = st.fixed_dictionaries(
    {
        "num_leaves": st.sampled_from([2, 4, 31]),
        "learning_rate": st.sampled_from([0.05, 0.9]),
        "use_missing": st.booleans(),
        "zero_as_missing": st.booleans(),
        "max_bin": st.sampled_from([3, 63, 255]),
        "max_cat_to_onehot": st.sampled_from([1, 4]),
        "min_data_per_group": st.just(2),
        "cat_smooth": st.just(1.0),
        "boosting": st.sampled_from(["gbdt", "dart", "rf"]),
        "bagging_freq": st.just(1),
        "bagging_fraction": st.sampled_from([0.6, 0.9]),
        "extra_trees": st.booleans(),
    }
)


@given(
    seed=st.integers(0, 10_000),
    params=PARAMS,
    categories=st.sampled_from([2, 5, 40]),
    missing=st.sampled_from([0.0, 0.3]),
    classes=st.integers(2, 7),
)
@settings(max_examples=30)
def test_sums_are_the_same_bits_and_probabilities_within_tolerance(
    seed: int, params: dict[str, Any], categories: int, missing: float, classes: int
) -> None:
    """Promise: of any booster, for missing, endless and unseen values, and exactly on thresholds."""
    booster = trained(seed, params, categories=categories, missing=missing, classes=classes)
    agree(booster, asked(booster, seed))


def test_a_booster_whose_trees_are_single_leaves_is_one_too() -> None:
    generator = np.random.default_rng(0)
    data = lgb.Dataset(np.zeros((40, FEATURES)), generator.integers(0, 3, 40), params={"verbosity": -1})
    booster = lgb.train({"objective": "multiclass", "num_class": 3, "verbosity": -1}, data, num_boost_round=2)
    rows = drawn_rows(generator, 5, 5, 0.1, 0.1)
    compiled = compile_booster(booster.model_to_string())
    assert np.abs(compiled.predict(rows) - booster.predict(rows)).max() <= TOLERANCE


def test_a_category_of_the_second_word_of_bits_is_found() -> None:
    booster = trained(3, {"max_cat_to_onehot": 1, "min_data_per_group": 2, "cat_smooth": 1.0}, categories=70)
    rows = np.zeros((90, FEATURES))
    rows[:, 3] = np.arange(-5, 85)
    agree(booster, rows)


def test_no_rows_have_no_answers() -> None:
    booster = trained(1, {})
    assert compile_booster(booster.model_to_string()).predict(np.empty((0, FEATURES))).shape == (0, 3)


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"objective": "regression", "num_class": 1}, "regression"),
        ({"objective": "multiclassova"}, "multiclassova"),
        ({"linear_tree": True}, "linear"),
    ],
)
def test_what_the_compiled_form_cannot_express_is_refused_with_its_reason(params: dict[str, Any], why: str) -> None:
    booster = trained(2, params)
    with pytest.raises(UnsupportedBooster, match=why):
        compile_booster(booster.model_to_string())


def test_more_thresholds_of_a_feature_than_a_node_can_tell_apart_are_refused() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(30_000, 1))
    data = lgb.Dataset(rows, generator.integers(0, 3, 30_000), params={"max_bin": 20_000, "min_data_in_bin": 1, "verbosity": -1})
    params = {"objective": "multiclass", "num_class": 3, "num_leaves": 2000, "min_data_in_leaf": 1, "verbosity": -1}
    booster = lgb.train(params | {"max_bin": 20_000}, data, num_boost_round=3)
    with pytest.raises(UnsupportedBooster, match="thresholds of one feature"):
        compile_booster(booster.model_to_string())


def test_other_text_than_a_model_of_the_known_version_is_refused() -> None:
    with pytest.raises(UnsupportedBooster, match="v4 is known"):
        compile_booster("tree\nversion=v3\n\nend of trees")
