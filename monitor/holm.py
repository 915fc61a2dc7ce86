"""Holm's step-down correction: p-values of several tests, adjusted so that a level holds for all of them together."""

from collections.abc import Sequence

import numpy as np


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of n tests, in their order. Valid however the tests depend on each other.

    >>> [round(p_value, 4) for p_value in holm([0.01, 0.04, 0.03])]
    [0.03, 0.06, 0.06]

    Reference: Holm 1979, Scandinavian Journal of Statistics 6: 65-70.
    """
    given = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(given, kind="stable")
    raised = given[order] * np.arange(len(given), 0, -1)
    adjusted = np.empty_like(given)
    adjusted[order] = np.minimum(np.maximum.accumulate(raised), 1.0)
    return [float(p_value) for p_value in adjusted]
