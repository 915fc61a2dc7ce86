"""Drift in a sentence: "weight_kg reads 3.1 kg higher (median 82.0 -> 85.1)"."""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from feature_repo.features import BY_NAME
from feature_repo.reference import Counts, FeatureReference, Reference
from monitor.comparison import ABSENCE, Verdict

_ABSENT = 2  # the last two bins of a histogram: unseen categories, missing values
_FLAG_NAMES = ("no", "yes")
_NAMED = 3  # more features than these are counted, not told
_SAME_MEDIAN = 0.005  # relative; a smaller step of the median is not what made the feature drift


def summarise(reference: Reference, window: Mapping[str, Counts], verdicts: Iterable[Verdict]) -> str:
    """What drifted, the greatest effect first."""
    by_name = {feature.name: feature for feature in reference.features}
    drifted = sorted((each for each in verdicts if each.drifted), key=lambda each: each.psi, reverse=True)
    if not drifted:
        return "no attribute drifted"
    told = [describe(by_name[each.name], window[each.name], each.test) for each in drifted[:_NAMED]]
    more = len(drifted) - len(told)
    return "; ".join(told) + (f"; and {more} more" if more else "")


def describe(feature: FeatureReference, window: Counts, test: str) -> str:
    """How the window's values of one attribute differ from the reference's, as far as `test` saw it."""
    if test == ABSENCE:
        before, after = _absent_share(feature.histogram), _absent_share(window)
        return f"{feature.name} is missing or unknown in {after:.1%} of the records ({before:.1%} before)"
    if feature.is_category or BY_NAME[feature.name].dtype == "bool":
        return _describe_share(feature, window)
    return _describe_median(feature, window)


def median(edges: tuple[float, ...], counts: Counts) -> float | None:
    """The median of counted numbers, interpolated within its bin; None if it lies in an open one at either end.

    >>> median((10.0, 20.0), np.array([1, 2, 1, 0, 0]))
    15.0
    """
    present = counts[:-_ABSENT]
    above = np.cumsum(present)
    middle = above[-1] / 2
    bin_ = int(np.searchsorted(above, middle))
    if not 0 < bin_ < len(edges):
        return None
    low, high = edges[bin_ - 1], edges[bin_]
    return float(low + (high - low) * (middle - above[bin_ - 1]) / present[bin_])


def _describe_median(feature: FeatureReference, window: Counts) -> str:
    before, after = median(feature.edges, feature.histogram), median(feature.edges, window)
    if before is None or after is None:
        return f"{feature.name} is distributed otherwise"
    change, unit = after - before, BY_NAME[feature.name].unit
    told = f" {unit}" if unit in {"kg", "m", "years"} else ""
    if abs(change) < abs(before) * _SAME_MEDIAN:
        return f"{feature.name} is distributed otherwise (median {before:.4g} as before)"
    direction = "higher" if change > 0 else "lower"
    return f"{feature.name} reads {abs(change):.2g}{told} {direction} (median {before:.4g} -> {after:.4g})"


def _describe_share(feature: FeatureReference, window: Counts) -> str:
    """The category whose share changed most; of a flag, yes."""
    names = feature.categories or _FLAG_NAMES
    before, after = (_shares(_by_value(feature, counts)) for counts in (feature.histogram, window))
    most = int(np.argmax(np.abs(after - before))) if feature.is_category else _FLAG_NAMES.index("yes")
    return f"{feature.name}: {names[most]} {before[most]:.1%} -> {after[most]:.1%}"


def _by_value(feature: FeatureReference, counts: Counts) -> Counts:
    """Counts of the categories, or of a flag's two values, whatever bins lie around them."""
    if feature.is_category:
        return counts[:-_ABSENT]
    return np.asarray(counts[np.searchsorted(np.asarray(feature.edges), (0.0, 1.0), side="right")])


def _shares(present: Counts) -> npt.NDArray[np.float64]:
    return np.asarray(present / max(int(present.sum()), 1))


def _absent_share(counts: Counts) -> float:
    return float(counts[-_ABSENT:].sum() / max(int(counts.sum()), 1))
