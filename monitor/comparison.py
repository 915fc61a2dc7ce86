"""A window against the reference: for each attribute how much differs, how surely, and whether that counts as drift.

Place in the flow: `handlers` and `habitus drift` call `compare` on counts; where the counts come from does not matter.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from feature_repo.reference import Counts, FeatureReference, Reference
from monitor.absence import absence
from monitor.chi_square import Outcome, chi_square
from monitor.holm import holm
from monitor.psi import expected_psi, psi
from monitor.rank_sum import rank_sum

SHAPE, PLACE, ABSENCE = "chi-square", "rank-sum", "fisher-absence"
_ABSENT = 2  # the last two bins of a histogram: unseen categories, missing values


@dataclass(frozen=True)
class Rule:
    """When a feature counts as drifted: adjusted p below `level` and `psi` above `least_psi`.

    `level` is the share of windows without drift in which any feature may be flagged.
    """

    level: float
    least_psi: float


@dataclass(frozen=True)
class Verdict:
    """One attribute's window against its reference.

    `test` is SHAPE, PLACE or ABSENCE and `statistic` its own. `psi` is the index less its average without drift.
    `p_value` is adjusted for all attributes, so that it compares with the rule's level directly.
    """

    name: str
    psi: float
    test: str
    statistic: float
    p_value: float
    drifted: bool


def compare(reference: Reference, window: Mapping[str, Counts], rule: Rule) -> tuple[Verdict, ...]:
    """A verdict for every attribute of the reference, in its order; `window` holds counts in the reference's bins."""
    tested = [(feature, *_tested(feature, window[feature.name])) for feature in reference.features]
    adjusted = holm([result.p_value for _, _, result in tested])
    return tuple(
        _verdict(feature, window[feature.name], test, Outcome(result.statistic, p_value), rule)
        for (feature, test, result), p_value in zip(tested, adjusted, strict=True)
    )


def _verdict(feature: FeatureReference, window: Counts, test: str, result: Outcome, rule: Rule) -> Verdict:
    excess = psi(feature.histogram, window) - expected_psi(feature.histogram, window)
    drifted = result.p_value < rule.level and excess > rule.least_psi
    return Verdict(feature.name, excess, test, result.statistic, result.p_value, drifted)


def _tested(feature: FeatureReference, window: Counts) -> tuple[str, Outcome]:
    """The most telling test of a feature, its p-value multiplied by how many were asked (Bonferroni)."""
    outcomes = _outcomes(feature, window)
    name = min(outcomes, key=lambda test: outcomes[test].p_value)
    return name, Outcome(outcomes[name].statistic, min(1.0, len(outcomes) * outcomes[name].p_value))


def _outcomes(feature: FeatureReference, window: Counts) -> dict[str, Outcome]:
    """The shape and, for numbers, the place of the values that are there; the share of those that are not."""
    reference = feature.histogram
    gone = absence(int(reference[-_ABSENT:].sum()), int(reference.sum()), int(window[-_ABSENT:].sum()), int(window.sum()))
    present, now = reference[:-_ABSENT], window[:-_ABSENT]
    outcomes = {SHAPE: chi_square(present, now), ABSENCE: gone}
    return outcomes if feature.is_category else outcomes | {PLACE: rank_sum(present, now)}
