"""Pearson's chi-square test of homogeneity on two histograms over the same bins.

Place in the flow: `comparison` asks it whether a window's bins and the reference's can stem from one population. Both samples are
finite, so the noise of a small reference is part of the test.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

# Cochran's rule: below this expected count in the smaller sample the chi-square distribution is no good approximation.
SMALLEST_EXPECTED = 5.0


class Outcome(NamedTuple):
    """A test's statistic and its p-value."""

    statistic: float
    p_value: float


SAME = Outcome(0.0, 1.0)


def chi_square(reference: npt.NDArray[np.int64], window: npt.NDArray[np.int64]) -> Outcome:
    """Test whether two count vectors over the same k bins stem from one distribution; nothing to compare gives p = 1.

    Bins with an expected count below `SMALLEST_EXPECTED` in either sample are pooled into one, together with the next smallest if
    that is still too small.

    >>> chi_square(np.array([900, 100]), np.array([80, 20])).p_value.__round__(4)
    0.0022
    >>> chi_square(np.array([900, 100]), np.array([0, 0]))
    Outcome(statistic=0.0, p_value=1.0)

    References: Pearson 1900, Philosophical Magazine 50: 157-175; Cochran 1954, Biometrics 10: 417-451 (small counts).
    """
    observed = _pooled(np.array([reference, window], dtype=np.float64))
    if observed.shape[1] < 2:  # noqa: PLR2004  one bin holds everything
        return SAME
    expected = _expected(observed)
    statistic = float(((observed - expected) ** 2 / expected).sum())
    return Outcome(statistic, float(chi2.sf(statistic, observed.shape[1] - 1)))


def _expected(observed: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.outer(observed.sum(axis=1), observed.sum(axis=0)) / observed.sum())


def _pooled(observed: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The 2 x k table with rare bins made one; 2 x 1 or 2 x 0 where nothing can be compared."""
    if not observed.sum(axis=1).all():
        return observed[:, :0]
    rarest = _expected(observed).min(axis=0)
    order = np.argsort(rarest, kind="stable")
    running = np.cumsum(rarest[order])
    rare = int((rarest < SMALLEST_EXPECTED).sum())
    if rare and running[rare - 1] < SMALLEST_EXPECTED:
        rare += 1
    together = observed[:, order[:rare]].sum(axis=1, keepdims=True)
    return np.hstack([together, observed[:, order[rare:]]]) if together.any() else observed[:, order[rare:]]
