"""The rank-sum test (Wilcoxon, Mann and Whitney) on two histograms over the same ordered bins.

Place in the flow: `comparison` asks it beside chi-square about numbers: it sees a small shift of a smooth distribution, which
moves a little out of every bin, where chi-square needs a change of the shape.
"""

from math import sqrt

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from monitor.chi_square import SAME, Outcome


def rank_sum(reference: npt.NDArray[np.int64], window: npt.NDArray[np.int64]) -> Outcome:
    """Test whether the window's values rank higher or lower than the reference's; the statistic is a z-score.

    Values of one bin are ties, which the variance allows for. Nothing to compare gives p = 1.

    >>> rank_sum(np.array([100, 100, 100]), np.array([100, 100, 100])).p_value
    1.0
    >>> rank_sum(np.array([100, 100, 100]), np.array([80, 100, 120])).statistic.__round__(2)
    2.0

    Reference: Mann, Whitney 1947, Annals of Mathematical Statistics 18: 50-60; ties after Lehmann 1975, Nonparametrics.
    """
    ours, theirs = window.astype(np.float64), reference.astype(np.float64)
    n, m, both = ours.sum(), theirs.sum(), ours + theirs
    total = n + m
    ties = (both**3 - both).sum()
    if not n or not m or ties == total**3 - total:
        return SAME
    midranks = np.cumsum(both) - both / 2 + 0.5
    surplus = (ours * midranks).sum() - n * (total + 1) / 2
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    z = float(surplus / sqrt(variance))
    return Outcome(z, float(2 * norm.sf(abs(z))))
