"""How much rows since a drift weigh against older ones: chosen by cross-validation on the recent training rows alone.

Old rows still tell how levels depend on most attributes; recent ones tell what changed. Which matters more is the data's to say.
"""

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupKFold

from feature_repo.labels import LEVELS
from feature_repo.scores import row_log_loss
from trainer.pipeline import Floats, Recipe
from trainer.training_set import LEVEL, person_counts, require_persons
from trainer.validation import CrossValidation, Effort, Positions, Split, cross_validate, silent

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
    """The weight with the smallest cross-validated log loss on the recent rows; a quick recipe ranks them.

    Raises `NotEnoughData` if fewer persons than folds have recent rows.
    """
    candidates = _usable(rows[is_recent(rows, since)], effort.folds)
    each_fit = replace(effort, progress=silent)
    losses = {}
    for number, weight in enumerate(candidates, start=1):
        losses[weight] = _log_loss(rows, since, weight, recipe.quick(), each_fit)
        effort.progress("weighing recent rows", number, len(candidates))
    return Recency(min(losses, key=lambda weight: losses[weight]), losses)


def validate(used: pd.DataFrame, weights: Floats, since: datetime, recipe: Recipe, effort: Effort) -> CrossValidation:
    """Cross-validation over the recent rows of what `weighted` gave; each fit has all rows of the persons it does not score.

    Raises `NotEnoughData` if fewer persons than folds have recent rows.
    """
    require_persons(used[is_recent(used, since)], effort.folds)
    splits = _recent_splits(used["person_id"], is_recent(used, since), effort.folds, recipe.seed)
    return cross_validate(used, recipe, splits, effort, weights)


def _log_loss(rows: pd.DataFrame, since: datetime, weight: float, recipe: Recipe, effort: Effort) -> float:
    used, weights = weighted(rows, since, weight)
    validation = validate(used, weights, since, recipe, effort)
    levels = list(used[LEVEL].iloc[validation.positions])
    return float(row_log_loss(levels, validation.probabilities).mean())


def _usable(recent: pd.DataFrame, folds: int) -> tuple[float, ...]:
    """Recent rows alone can make a model only if every level is in every fit."""
    every_level = min(person_counts(recent).values()) >= folds
    return WEIGHTS if every_level and len(recent) >= folds * len(LEVELS) else WEIGHTS[:-1]


def _recent_splits(persons: pd.Series, recent: npt.NDArray[np.bool_], folds: int, seed: int) -> list[Split]:
    newer = np.flatnonzero(recent)
    parts = GroupKFold(folds, shuffle=True, random_state=seed).split(newer, groups=persons.iloc[newer])
    return [_without_the_scored(persons, newer[scored]) for _, scored in parts]


def _without_the_scored(persons: pd.Series, scored: Positions) -> Split:
    """A person's older rows resemble his recent ones, so they leave the fit with them."""
    return np.flatnonzero(~persons.isin(persons.iloc[scored])), scored
