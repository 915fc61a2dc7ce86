"""Fisher's exact test, one-sided: are more values missing, or in unseen categories, than the reference's share allows?

Place in the flow: `comparison` asks it beside chi-square, because at shares near zero chi-square's
approximation ends.
"""

from scipy.stats import hypergeom

from monitor.chi_square import Outcome


def absence(reference_absent: int, reference_rows: int, window_absent: int, window_rows: int) -> Outcome:
    """Test whether the window's share of absent values is greater than the reference's; the statistic is the window's share.

    Exact for any counts, given both samples' sizes. Nothing absent, or no rows, gives p = 1.

    >>> absence(0, 17_000, 3, 1_000).p_value < 2e-4
    True
    >>> absence(170, 17_000, 10, 1_000).p_value > 0.5
    True

    Reference: Fisher 1922, Journal of the Royal Statistical Society 85: 87-94.
    """
    if not window_absent:
        return Outcome(0.0, 1.0)
    absent, rows = reference_absent + window_absent, reference_rows + window_rows
    return Outcome(window_absent / window_rows, float(hypergeom.sf(window_absent - 1, rows, absent, window_rows)))
