"""Scores agree with scikit-learn's, and know their limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss

from feature_repo.labels import LEVELS
from feature_repo.scores import ece, level_codes, row_log_loss, scores
from runtime.errors import NotEnoughData


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_scores_are_those_of_scikit_learn(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    predicted = random.dirichlet(np.ones(7), size)
    levels = [LEVELS[code] for code in random.integers(0, 7, size)]
    truth, guess = level_codes(levels), predicted.argmax(axis=1)
    found = scores(levels, predicted)
    assert found["rows"] == size
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, guess))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro", zero_division=0))
    assert found["weighted_f1"] == pytest.approx(f1_score(truth, guess, average="weighted", zero_division=0))
    assert found["log_loss"] == pytest.approx(log_loss(truth, predicted, labels=range(7)))
    assert 0 <= found["ece"] <= 1


def test_a_truth_that_was_held_impossible_costs_much_and_not_infinity() -> None:
    predicted = np.array([[1.0, 0, 0, 0, 0, 0, 0]])
    assert row_log_loss([LEVELS[0]], predicted).tolist() == [0.0]
    assert row_log_loss([LEVELS[1]], predicted)[0] == pytest.approx(34.5, abs=0.1)


def test_calibration_error_is_the_gap_between_confidence_and_hits() -> None:
    confidence = np.full(10, 0.95)
    hits = np.array([True] * 9 + [False])
    assert ece(hits, confidence) == pytest.approx(0.05)
    assert ece(np.ones(10, dtype=bool), np.ones(10)) == 0.0


def test_no_rows_give_no_scores() -> None:
    with pytest.raises(NotEnoughData, match="no rows to score"):
        scores([], np.empty((0, 7)))


def test_an_unknown_level_is_an_error() -> None:
    with pytest.raises(KeyError):
        level_codes(["Thin"])
