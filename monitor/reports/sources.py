"""Which rows a report compares: the champion's training rows, sampled, with the latest rows of the history.

Every function returns (reference, current) with the same columns, and raises `NotEnoughData` where one of them would be empty.
"""

import numpy as np
import pandas as pd

from feature_repo.features import BY_NAME
from feature_repo.labels import LEVELS
from feature_repo.model_input import as_model_input
from feature_repo.person import ATTRIBUTES, FLAGS
from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.performance import PROBABILITIES
from runtime.errors import NotEnoughData

REFERENCE_ROWS = 2_000  # Evidently takes seconds for so many, and minutes for all
SEED = 0
TIME = "event_timestamp"
TARGET, PREDICTION = "target", "prediction"
NUMERIC = tuple(name for name in ATTRIBUTES if BY_NAME[name].dtype == "float")
CATEGORICAL = tuple(name for name in ATTRIBUTES if name not in NUMERIC)

Pair = tuple[pd.DataFrame, pd.DataFrame]


def attribute_rows(champion: Champion, history: OfflineHistory, window: int) -> Pair:
    """The attributes of the training rows and of the latest `window` feature rows by event time."""
    latest = history.features().tail(window)
    if latest.empty:
        raise NotEnoughData("the history holds no feature row", remedy="publish records: habitus replay FILE")
    return _attributes(sampled(champion.rows())), _attributes(latest)


def level_rows(champion: Champion, history: OfflineHistory, window: int) -> Pair:
    """True and predicted levels: out of fold for the training rows, the latest `window` labels and predictions now.

    The two columns of the current rows are independent of each other: most labels belong to rows that nobody asked about.
    """
    labels, predictions = history.labels().tail(window), history.predictions().tail(window)
    if labels.empty:
        raise NotEnoughData("the history holds no label", remedy="publish labels: habitus replay FILE with a level column")
    current = {TARGET: labels["obesity_level"].reset_index(drop=True)}
    if len(predictions):
        current[PREDICTION] = predictions["obesity_level"].reset_index(drop=True)
    frame = pd.DataFrame(current)
    frame[TIME] = labels[TIME].reset_index(drop=True)
    reference = _out_of_fold(champion)
    return reference[[*current, TIME]], frame


def scored_rows(champion: Champion, history: OfflineHistory, window: int) -> Pair:
    """True and predicted levels with probabilities: out of fold for the training rows, the latest labelled ones now."""
    labelled = history.labelled_predictions().tail(window)
    if labelled.empty:
        raise NotEnoughData(
            "no prediction in the history has a label yet",
            remedy="ask for predictions (habitus predict) and publish the persons' labels (habitus replay FILE)",
        )
    current = labelled.rename(columns={"actual": TARGET, "obesity_level": PREDICTION})
    columns = [TARGET, PREDICTION, *PROBABILITIES, TIME]
    return _out_of_fold(champion)[columns], current[columns].reset_index(drop=True)


def sampled(rows: pd.DataFrame) -> pd.DataFrame:
    """At most REFERENCE_ROWS of `rows`; the same ones every time."""
    return rows.sample(n=min(REFERENCE_ROWS, len(rows)), random_state=SEED).reset_index(drop=True)


def _out_of_fold(champion: Champion) -> pd.DataFrame:
    rows = sampled(champion.out_of_fold())
    guessed = rows[PROBABILITIES].to_numpy(dtype=np.float64).argmax(axis=1)
    return rows.rename(columns={"obesity_level": TARGET}).assign(**{PREDICTION: np.array(LEVELS)[guessed]})


def _attributes(rows: pd.DataFrame) -> pd.DataFrame:
    """Numbers as floats, categories and flags as text; a column that has no value at all stays."""
    frame = as_model_input(rows, ATTRIBUTES)
    for flag in FLAGS:
        frame[flag] = frame[flag].map({1.0: "yes", 0.0: "no"}).astype(object)
    return frame.assign(**{TIME: rows[TIME].to_numpy()})
