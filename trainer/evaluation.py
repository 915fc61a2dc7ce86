"""Scores of gate rows with their standard errors, overall and per slice."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.scores import row_log_loss, scores
from feature_repo.slices import slices
from trainer.pipeline import Floats
from trainer.training_set import LEVEL

RESAMPLES = 100  # enough for a standard error to two digits (Efron and Tibshirani 1993, section 6.4)
_RATES = ("accuracy", "macro_f1", "weighted_f1", "log_loss", "ece")


def with_errors(levels: Sequence[str], probabilities: Floats, *, seed: int = 0) -> dict[str, float]:
    """The scores of n predictions, and for each a `<score>_se` by the bootstrap over rows."""
    generator = np.random.default_rng(seed)
    names = np.asarray(levels, dtype=object)
    resampled = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, len(names), len(names))
        resampled.append(scores(list(names[drawn]), probabilities[drawn]))
    errors = {f"{rate}_se": float(np.std([each[rate] for each in resampled], ddof=1)) for rate in _RATES}
    return scores(levels, probabilities) | errors


def by_slice(rows: pd.DataFrame, probabilities: Floats) -> list[dict[str, Any]]:
    """For every slice that has rows: `slice`, the scores, and standard errors of accuracy (binomial) and log loss."""
    table = []
    for name, members in slices(rows):
        if members.any():
            table.append({"slice": name, **_with_simple_errors(list(rows[LEVEL][members]), probabilities[members])})
    return table


def _with_simple_errors(levels: Sequence[str], probabilities: Floats) -> dict[str, float]:
    found, losses = scores(levels, probabilities), row_log_loss(levels, probabilities)
    accuracy, size = found["accuracy"], len(losses)
    spread = float(np.std(losses, ddof=1)) if size > 1 else float("nan")
    errors = {"accuracy_se": float(np.sqrt(accuracy * (1 - accuracy) / size)), "log_loss_se": float(spread / np.sqrt(size))}
    return found | errors
