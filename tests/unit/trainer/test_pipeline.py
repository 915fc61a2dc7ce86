"""The model's pipeline: standard parts, missing and unseen values, all seven levels."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from feature_repo.labels import LEVELS
from feature_repo.person import ATTRIBUTES
from trainer.pipeline import FEATURE_SETS, Recipe, features_of, fit, probabilities

MakeRows = Callable[..., pd.DataFrame]


@pytest.fixture
def rows(make_rows: MakeRows) -> pd.DataFrame:
    return make_rows(400)


def test_it_learns_and_answers_probabilities_in_the_order_of_the_levels(rows: pd.DataFrame, recipe: Recipe) -> None:
    predicted = probabilities(fit(rows, recipe), rows)
    assert predicted.shape == (400, 7)
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0)
    guesses = np.array(LEVELS)[predicted.argmax(axis=1)]
    assert (guesses == rows["obesity_level"]).mean() > 0.9


def test_the_same_rows_give_the_same_model(rows: pd.DataFrame, recipe: Recipe) -> None:
    np.testing.assert_array_equal(probabilities(fit(rows, recipe), rows), probabilities(fit(rows, recipe), rows))


def test_missing_and_unseen_values_are_answered(rows: pd.DataFrame, recipe: Recipe) -> None:
    odd = rows.head(2).assign(gender=None, transport="Balloon", weight_kg=np.nan, smokes=None)
    assert np.isfinite(probabilities(fit(rows, recipe), odd)).all()


def test_a_level_that_was_never_seen_has_no_probability(rows: pd.DataFrame, recipe: Recipe) -> None:
    without = rows[rows["obesity_level"] != LEVELS[0]]
    assert (probabilities(fit(without, recipe), rows)[:, 0] == 0).all()


def test_a_row_of_weight_zero_teaches_nothing(rows: pd.DataFrame, recipe: Recipe) -> None:
    wrong = rows.assign(obesity_level=LEVELS[0])
    both = pd.concat([rows, wrong], ignore_index=True)
    weights = np.append(np.ones(400), np.zeros(400))
    guesses = np.array(LEVELS)[probabilities(fit(both, recipe, weights), rows).argmax(axis=1)]
    assert (guesses == rows["obesity_level"]).mean() > 0.9


@pytest.mark.parametrize("chosen", ["raw", "all"])
def test_it_reads_the_features_it_was_made_for(chosen: str, rows: pd.DataFrame) -> None:
    features = FEATURE_SETS[chosen]
    assert features_of(fit(rows, Recipe(features=features, rounds=2))) == features


def test_by_default_it_reads_the_sixteen_attributes() -> None:
    assert Recipe().features == ATTRIBUTES
    assert len(ATTRIBUTES) == 16


def test_the_quick_recipe_shrinks_as_much_in_fewer_rounds() -> None:
    full, quick = Recipe(), Recipe().quick()
    assert quick.rounds < full.rounds / 2
    assert quick.rounds * quick.learning_rate == pytest.approx(full.rounds * full.learning_rate, rel=0.02)
