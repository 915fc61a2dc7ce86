"""Scores of predicted probabilities, defined once for trainer, evaluation and monitor.

Levels are those of `labels.LEVELS`, in that order; probabilities are n x 7 and sum to one along rows.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import f1_score

from feature_repo.labels import LEVELS
from runtime.errors import NotEnoughData

CALIBRATION_BINS = 15
# A probability of zero for the truth costs this much and not infinity (natural logarithm of 1e-15: 34.5 a row).
SMALLEST_PROBABILITY = 1e-15

_INDEX = {level: position for position, level in enumerate(LEVELS)}


def level_codes(levels: Sequence[str]) -> npt.NDArray[np.int64]:
    """Positions in `LEVELS` of n level names. Raises `KeyError` for a name that is none."""
    return np.array([_INDEX[level] for level in levels], dtype=np.int64)


def row_log_loss(levels: Sequence[str], probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each row's negative log probability of its true level, nats; n values."""
    truth = probabilities[np.arange(len(levels)), level_codes(levels)]
    return np.asarray(-np.log(np.clip(truth, SMALLEST_PROBABILITY, 1.0)))


def ece(correct: npt.NDArray[np.bool_], confidence: npt.NDArray[np.float64], bins: int = CALIBRATION_BINS) -> float:
    """Top-label expected calibration error over equal-width bins (Guo et al. 2017, arXiv 1706.04599); 0 is perfect."""
    which = np.clip((confidence * bins).astype(int), 0, bins - 1)
    size = np.bincount(which, minlength=bins)
    gap = np.bincount(which, weights=confidence, minlength=bins) - np.bincount(which, weights=correct, minlength=bins)
    return float(np.abs(gap).sum() / size.sum())


def scores(levels: Sequence[str], probabilities: npt.NDArray[np.float64]) -> dict[str, float]:
    """`rows, accuracy, macro_f1, weighted_f1, log_loss, ece` of n predictions. Raises `NotEnoughData` for none."""
    if len(levels) == 0:
        raise NotEnoughData("there are no rows to score", remedy="widen the window, or send labels")
    truth, guess = level_codes(levels), probabilities.argmax(axis=1)
    f1: Any = {average: f1_score(truth, guess, average=average, zero_division=0.0) for average in ("macro", "weighted")}
    return {
        "rows": float(len(levels)),
        "accuracy": float(np.mean(truth == guess)),
        "macro_f1": float(f1["macro"]),
        "weighted_f1": float(f1["weighted"]),
        "log_loss": float(row_log_loss(levels, probabilities).mean()),
        "ece": ece(truth == guess, probabilities.max(axis=1)),
    }
