"""Cross-validation on training rows: scores with their errors, and out-of-fold predictions for the monitoring reference."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from feature_repo.labels import LEVELS
from feature_repo.scores import scores
from trainer.pipeline import Floats, Recipe, fit, probabilities
from trainer.training_set import LEVEL, require_persons

Positions = npt.NDArray[np.intp]
Split = tuple[Positions, Positions]
# Told after each step of long work: what it is, how many steps are done, of how many.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, of: int) -> None:
    """A `Progress` that tells nobody."""


@dataclass(frozen=True)
class CrossValidation:
    """Out-of-fold `probabilities` (n x 7) of the rows at `positions`, and the scores of each fold."""

    positions: Positions
    probabilities: Floats
    fold_scores: tuple[dict[str, float], ...]

    def mean(self, score: str) -> float:
        """The mean of `score` over folds."""
        return float(np.mean([each[score] for each in self.fold_scores]))

    def standard_error(self, score: str) -> float:
        """The folds' standard deviation over the root of their number.

        A little small, because folds share training rows (Bengio and Grandvalet 2004, JMLR 5: 1089-1105).
        """
        return float(np.std([each[score] for each in self.fold_scores], ddof=1) / np.sqrt(len(self.fold_scores)))


@dataclass(frozen=True)
class Effort:
    """How a cross-validation is carried out: its `folds`, `workers` fits side by side, and who is told of its `progress`."""

    folds: int = 10
    workers: int = 1
    progress: Progress = silent


def stratified(rows: pd.DataFrame, folds: int, seed: int) -> list[Split]:
    """`folds` splits of n rows into fitted and scored positions, each with about the levels' shares of the whole.

    No person is on both sides of a split: the rows of a person resemble each other, and a model would be scored on whom it knows.
    Raises `NotEnoughData` if there are fewer persons than folds.
    """
    require_persons(rows, folds)
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(splitter.split(rows, rows[LEVEL], groups=rows["person_id"]))


def cross_validate(
    rows: pd.DataFrame, recipe: Recipe, splits: Sequence[Split], effort: Effort, weights: Floats | None = None
) -> CrossValidation:
    """Fit on the first positions of each split (with `weights`), predict and score the second ones.

    The result does not depend on `effort.workers`.
    """

    def predict(split: Split) -> Floats:
        fitted, scored = split
        pipeline = fit(rows.iloc[fitted], recipe, None if weights is None else weights[fitted])
        return probabilities(pipeline, rows.iloc[scored])

    predicted = []
    for number, found in enumerate(_side_by_side(predict, splits, effort.workers), start=1):
        predicted.append(found)
        effort.progress("cross-validation", number, len(splits))
    levels = rows[LEVEL].to_numpy()
    fold_scores = [scores(list(levels[scored]), found) for (_, scored), found in zip(splits, predicted, strict=True)]
    return CrossValidation(np.concatenate([scored for _, scored in splits]), np.concatenate(predicted), tuple(fold_scores))


def _side_by_side(work: Callable[[Split], Floats], splits: Sequence[Split], workers: int) -> Iterator[Floats]:
    """What `work` gives for each split, in order. Threads do: LightGBM lets go of the interpreter's lock."""
    pool = ThreadPoolExecutor(workers)
    try:
        yield from pool.map(work, splits)
    finally:
        # Who stops in the middle does not wait for folds that have not begun.
        pool.shutdown(wait=False, cancel_futures=True)


def out_of_fold_frame(rows: pd.DataFrame, validation: CrossValidation) -> pd.DataFrame:
    """The rows' identity, level and out-of-fold probabilities (`p_<level>`), in the order of `rows`."""
    chosen = rows.iloc[validation.positions]
    frame = chosen[["person_id", "event_timestamp", LEVEL]].assign(
        **{f"p_{level}": validation.probabilities[:, number] for number, level in enumerate(LEVELS)}
    )
    return frame.sort_index().reset_index(drop=True)
