"""Population stability index: how much two histograms over the same bins differ, whatever their sizes."""

import numpy as np
import numpy.typing as npt

# Added to every bin, so that an empty one gives a finite index (Jeffreys' prior).
PSEUDO_COUNT = 0.5


def psi(reference: npt.NDArray[np.int64], window: npt.NDArray[np.int64]) -> float:
    """The index, no unit; 0 for equal proportions. Bins that are empty in both are left out; nothing to compare gives 0.

    >>> psi(np.array([500, 500]), np.array([500, 500]))
    0.0
    >>> round(psi(np.array([5000, 5000]), np.array([600, 400])), 3)
    0.04

    Reference: Siddiqi 2006, Credit Risk Scorecards (the sum of (q - p) ln(q / p), a symmetrised Kullback-Leibler divergence).
    """
    used = (reference + window) > 0
    if not (reference.any() and window.any()):
        return 0.0
    p, q = _shares(reference[used]), _shares(window[used])
    return float(((q - p) * np.log(q / p)).sum())


def expected_psi(reference: npt.NDArray[np.int64], window: npt.NDArray[np.int64]) -> float:
    """What `psi` is on average if nothing drifted: (k - 1)(1/n + 1/m) for k used bins and samples of n and m.

    >>> expected_psi(np.array([5000, 5000]), np.array([600, 400]))
    0.0011

    Reference: Yurdakul 2018, Statistical properties of population stability index (Western Michigan University).
    """
    if not (reference.any() and window.any()):
        return 0.0
    used = int(((reference + window) > 0).sum())
    return float((used - 1) * (1 / reference.sum() + 1 / window.sum()))


def _shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    raised = counts + PSEUDO_COUNT
    return np.asarray(raised / raised.sum())
