"""How much rows since a drift weigh against older ones: chosen by cross-validation on the recent training rows alone.

Old rows still tell how levels depend on most attributes; recent ones tell what changed. Which matters more is the data's to say.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import KFold

from feature_repo.labels import LEVELS
from feature_repo.scores import row_log_loss
from trainer.pipeline import Floats, Recipe
from trainer.training_set import LEVEL, level_counts
from trainer.validation import CrossValidation, Effort, Split, cross_validate, silent

RECENT_ONLY = float("inf")
WEIGHTS = (1.0, 4.0, 16.0, RECENT_ONLY)


@dataclass(frozen=True)
class Recency:
    """A weight for recent rows, and the out-of-fold log loss on recent rows of every weight that was tried."""

    weight: float
    log_losses: dict[float, float]

    def record(self) -> dict[str, object]:
        """What the decision record says of it."""
        return {"chosen": name_of(self.weight), "log_loss": {name_of(w): loss for w, loss in self.log_losses.items()}}


def name_of(weight: float) -> str:
    """A weight as people read it."""
    return "recent rows only" if weight == RECENT_ONLY else f"{weight:g}"


def weighted(rows: pd.DataFrame, since: datetime, weight: float) -> tuple[pd.DataFrame, Floats]:
    """The rows to fit on and their weights: `weight` for recent ones (event times from `since` on), 1 for older ones."""
    recent = is_recent(rows, since)
    if weight == RECENT_ONLY:
        return rows[recent].reset_index(drop=True), np.ones(int(recent.sum()))
    return rows, np.where(recent, weight, 1.0)


def is_recent(rows: pd.DataFrame, since: datetime) -> npt.NDArray[np.bool_]:
    """Which of n rows have event times from `since` on."""
    return np.asarray(rows["event_timestamp"] >= since)


def choose_weight(rows: pd.DataFrame, since: datetime, recipe: Recipe, effort: Effort) -> Recency:
    """The weight with the smallest cross-validated log loss on the recent rows; a quick recipe ranks them."""
    candidates = _usable(rows[is_recent(rows, since)], effort.folds)
    each_fit = replace(effort, progress=silent)
    losses = {}
    for number, weight in enumerate(candidates, start=1):
        losses[weight] = _log_loss(rows, since, weight, recipe.quick(), each_fit)
        effort.progress("weighing recent rows", number, len(candidates))
    return Recency(min(losses, key=lambda weight: losses[weight]), losses)


def validate(used: pd.DataFrame, weights: Floats, since: datetime, recipe: Recipe, effort: Effort) -> CrossValidation:
    """Cross-validation over the recent rows of what `weighted` gave; every older row is in every fit."""
    splits = _recent_splits(is_recent(used, since), effort.folds, recipe.seed)
    return cross_validate(used, recipe, splits, effort, weights)


def _log_loss(rows: pd.DataFrame, since: datetime, weight: float, recipe: Recipe, effort: Effort) -> float:
    used, weights = weighted(rows, since, weight)
    validation = validate(used, weights, since, recipe, effort)
    levels = list(used[LEVEL].iloc[validation.positions])
    return float(row_log_loss(levels, validation.probabilities).mean())


def _usable(recent: pd.DataFrame, folds: int) -> tuple[float, ...]:
    """Recent rows alone can make a model only if every level is in every fit."""
    every_level = min(level_counts(list(recent[LEVEL])).values()) >= folds
    return WEIGHTS if every_level and len(recent) >= folds * len(LEVELS) else WEIGHTS[:-1]


def _recent_splits(recent: npt.NDArray[np.bool_], folds: int, seed: int) -> list[Split]:
    older, newer = np.flatnonzero(~recent), np.flatnonzero(recent)
    parts = KFold(folds, shuffle=True, random_state=seed).split(newer)
    return [(np.concatenate([older, newer[fitted]]), newer[scored]) for fitted, scored in parts]
