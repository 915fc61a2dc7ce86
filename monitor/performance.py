"""How right the served predictions were, once their labels came.

Place in the flow: computed from the offline history, so the figures after a window and those of a report are the same ones.
"""

import numpy as np
import pandas as pd

from feature_repo.labels import LEVELS
from feature_repo.scores import scores

PROBABILITIES = [f"p_{level}" for level in LEVELS]


def performance_by_version(labelled: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Scores of each model version over n labelled predictions (columns `actual`, `model_version` and PROBABILITIES)."""
    return {str(version): score(rows) for version, rows in labelled.groupby("model_version")}


def score(labelled: pd.DataFrame) -> dict[str, float]:
    """Scores of n labelled predictions. Raises `NotEnoughData` for none."""
    return scores(labelled["actual"].tolist(), labelled[PROBABILITIES].to_numpy(dtype=np.float64))
