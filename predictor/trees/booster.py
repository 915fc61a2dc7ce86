"""A compiled booster: what `Booster.predict` answers, from flat trees.

Place in the flow: `predictor.compiled` makes one when a model is loaded, and compares it with the original before it serves.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from predictor.trees import kernel
from predictor.trees.flatten import FlatTrees, flatten
from predictor.trees.model_text import BoosterText, UnsupportedBooster, read_booster

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class CompiledBooster:
    """A multi-class booster of `features` inputs and `classes` outputs."""

    features: int
    classes: int
    trees: FlatTrees
    rounds_averaged: int  # of a random forest, whose probabilities are of the mean score; 1 where the rounds add up

    def raw_scores(self, rows: Floats) -> Floats:
        """Sums, n x classes, for n x features: the same bits as `Booster.predict(rows, raw_score=True)`."""
        scores = np.zeros((len(rows), self.classes))
        kernel.raw_scores(np.ascontiguousarray(rows, dtype=np.float64), scores, *self._arrays())
        return scores

    def predict(self, rows: Floats) -> Floats:
        """Probabilities, n x classes, for n x features: within 1e-12 of `Booster.predict(rows)`."""
        scores = self.raw_scores(rows) / self.rounds_averaged
        kernel.softmax(scores)
        return scores

    def _arrays(self) -> list[npt.NDArray[np.generic]]:
        return [getattr(self.trees, each.name) for each in fields(FlatTrees)]


def compile_booster(text: str) -> CompiledBooster:
    """The booster whose `model_to_string()` is `text`.

    Raises `UnsupportedBooster` for another objective than multi-class, linear trees, or more than the nodes can hold.
    """
    booster = read_booster(text)
    if booster.objective[:1] != ("multiclass",):
        raise UnsupportedBooster(f"its objective is {' '.join(booster.objective) or 'unknown'}, not multiclass")
    if not booster.trees:
        raise UnsupportedBooster("it has no trees")
    return CompiledBooster(booster.features, booster.classes, flatten(booster), _rounds_averaged(booster))


def _rounds_averaged(booster: BoosterText) -> int:
    return len(booster.trees) // booster.classes if booster.averages else 1
