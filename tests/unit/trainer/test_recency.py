"""How recent rows are weighed."""

from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from runtime.errors import NotEnoughData
from trainer.pipeline import Recipe
from trainer.recency import RECENT_ONLY, WEIGHTS, _recent_splits, choose_weight, is_recent, validate, weighted
from trainer.validation import Effort

MakeRows = Callable[..., pd.DataFrame]
DRIFT = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def rows(make_rows: MakeRows) -> pd.DataFrame:
    """600 rows, and 150 of other persons whose scale reads 8 % high."""
    drifted = make_rows(150, seed=2, start=DRIFT, prefix="late", scale=1.08)
    return pd.concat([make_rows(600), drifted], ignore_index=True)


def test_recent_rows_weigh_what_they_are_told_to(rows: pd.DataFrame) -> None:
    used, weights = weighted(rows, DRIFT, 4.0)
    assert len(used) == 750
    assert set(weights[is_recent(used, DRIFT)]) == {4.0}
    assert set(weights[~is_recent(used, DRIFT)]) == {1.0}


def test_recent_only_leaves_the_others_out(rows: pd.DataFrame) -> None:
    used, weights = weighted(rows, DRIFT, RECENT_ONLY)
    assert len(used) == len(weights) == 150
    assert is_recent(used, DRIFT).all()


def test_only_recent_rows_are_scored_and_each_once(rows: pd.DataFrame, recipe: Recipe) -> None:
    used, weights = weighted(rows, DRIFT, 16.0)
    validation = validate(used, weights, DRIFT, recipe, Effort(3))
    assert sorted(validation.positions) == list(np.flatnonzero(is_recent(rows, DRIFT)))


def test_after_a_drift_recent_rows_come_to_weigh_more(rows: pd.DataFrame, recipe: Recipe) -> None:
    chosen = choose_weight(rows, DRIFT, recipe, Effort(3))
    assert set(chosen.log_losses) == set(WEIGHTS)
    assert chosen.log_losses[chosen.weight] == min(chosen.log_losses.values())
    assert chosen.weight > 1.0


def test_recent_rows_alone_are_no_candidate_when_a_level_is_rare_among_them(rows: pd.DataFrame, recipe: Recipe) -> None:
    rare = rows[~(is_recent(rows, DRIFT) & (rows["obesity_level"] == "Normal_Weight"))].reset_index(drop=True)
    chosen = choose_weight(rare, DRIFT, recipe, Effort(3))
    assert RECENT_ONLY not in chosen.log_losses
    assert "recent rows only" not in chosen.record()["log_loss"]  # type: ignore[operator]


def test_no_fit_has_seen_whom_it_scores_neither_recently_nor_earlier(rows: pd.DataFrame) -> None:
    persons = pd.Series([f"p-{number % 150}" for number in range(len(rows))])
    recent = is_recent(rows, DRIFT)
    splits = _recent_splits(persons, recent, 3, seed=1)
    assert sorted(np.concatenate([scored for _, scored in splits])) == list(np.flatnonzero(recent))
    for fitted, scored in splits:
        assert not set(persons[fitted]) & set(persons[scored])
        assert len(fitted) == 500


def test_recent_rows_of_fewer_persons_than_folds_are_not_enough(rows: pd.DataFrame, recipe: Recipe) -> None:
    few = rows.head(602)
    with pytest.raises(NotEnoughData, match="3 folds need as many persons"):
        choose_weight(few, DRIFT, recipe, Effort(3))
    with pytest.raises(NotEnoughData, match="3 folds need as many persons"):
        validate(few, np.ones(len(few)), DRIFT, recipe, Effort(3))
