"""Features as a model takes them: the one conversion that trainer, predictor and monitor share.

Numbers, counts and flags become float64 (missing: NaN; flag: 1.0, 0.0); categories stay strings (missing: None).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.features import BY_NAME


def as_model_input(columns: Mapping[str, Sequence[Any]] | pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """The features `names` of n rows as a model's input, in that order. Raises `KeyError` naming a feature that is not there."""
    return pd.DataFrame({name: _converted(name, columns[name]) for name in names})


def _converted(name: str, values: Sequence[Any] | pd.Series) -> "np.ndarray[Any, Any]":
    given = pd.array(values, dtype=object) if not isinstance(values, pd.Series) else values.array
    missing = np.asarray(pd.isna(given), dtype=bool)
    if BY_NAME[name].dtype == "category":
        return np.array([None if gone else value for value, gone in zip(given, missing, strict=True)], dtype=object)
    return np.array([np.nan if gone else float(value) for value, gone in zip(given, missing, strict=True)], dtype=np.float64)
