"""The statistics agree with independent implementations, and their examples run."""

import doctest
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, fisher_exact, mannwhitneyu

from habitus.commands import drift as drift_command
from monitor import absence as absence_module
from monitor import chi_square as chi_square_module
from monitor import holm as holm_module
from monitor import psi as psi_module
from monitor import rank_sum as rank_sum_module
from monitor import words as words_module
from monitor.absence import absence
from monitor.chi_square import chi_square
from monitor.holm import holm
from monitor.psi import expected_psi, psi
from monitor.rank_sum import rank_sum

FREQUENT = st.lists(st.tuples(st.integers(50, 90), st.integers(50, 90)), min_size=2, max_size=25)
ANY_COUNTS = st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), min_size=1, max_size=25)
P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@pytest.mark.parametrize(
    "module",
    [absence_module, chi_square_module, holm_module, psi_module, rank_sum_module, words_module, drift_command],
    ids=lambda m: m.__name__,
)
def test_every_example_in_the_docs_is_true(module: ModuleType) -> None:
    outcome = doctest.testmod(module, extraglobs={"np": np})
    assert outcome.attempted
    assert not outcome.failed


@given(FREQUENT)
def test_chi_square_is_that_of_scipy(counts: list[tuple[int, int]]) -> None:
    reference, window = np.array(counts).T
    expected = chi2_contingency([reference, window], correction=False)
    found = chi_square(reference, window)
    assert found.statistic == pytest.approx(expected.statistic)
    assert found.p_value == pytest.approx(expected.pvalue)


@given(ANY_COUNTS)
def test_chi_square_is_a_p_value_whatever_is_counted(counts: list[tuple[int, int]]) -> None:
    reference, window = np.array(counts).T
    assert 0 <= chi_square(reference, window).p_value <= 1


@given(FREQUENT)
def test_rank_sum_is_that_of_scipy(counts: list[tuple[int, int]]) -> None:
    reference, window = np.array(counts).T
    values = np.arange(len(counts))
    expected = mannwhitneyu(np.repeat(values, window), np.repeat(values, reference), use_continuity=False, method="asymptotic")
    assert rank_sum(reference, window).p_value == pytest.approx(expected.pvalue, abs=1e-12)


@given(ANY_COUNTS)
def test_rank_sum_is_a_p_value_whatever_is_counted(counts: list[tuple[int, int]]) -> None:
    reference, window = np.array(counts).T
    assert 0 <= rank_sum(reference, window).p_value <= 1


def test_a_few_rare_values_are_no_evidence() -> None:
    """Promise: two of 1,000 in a category that the reference nearly lacks cannot alarm, as they would without pooling."""
    reference, window = np.array([10_000, 7_640, 4]), np.array([566, 432, 2])
    assert chi2_contingency([reference, window], correction=False).pvalue < 0.01
    assert chi_square(reference, window).p_value > 0.5


@given(st.integers(0, 300), st.integers(0, 60))
def test_absence_is_fishers_exact_test(before: int, now: int) -> None:
    table = [[now, 60 - now], [before, 300 - before]]
    assert absence(before, 300, now, 60).p_value == pytest.approx(fisher_exact(table, alternative="greater").pvalue, rel=1e-6)


@given(P_VALUES)
def test_holm_lies_between_the_p_value_and_bonferroni(p_values: list[float]) -> None:
    for raw, adjusted in zip(p_values, holm(p_values), strict=True):
        assert raw <= adjusted <= min(1.0, raw * len(p_values))


@given(P_VALUES)
def test_holm_keeps_the_order(p_values: list[float]) -> None:
    pairs = sorted(zip(p_values, holm(p_values), strict=True))
    assert [adjusted for _, adjusted in pairs] == sorted(adjusted for _, adjusted in pairs)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=20).filter(any))
def test_psi_is_nothing_where_nothing_differs(counts: list[int]) -> None:
    same = np.array(counts)
    assert psi(same, same) == pytest.approx(0)


def test_psi_without_drift_is_what_is_expected_on_average() -> None:
    """Promise: the correction for window and reference size holds within 3 % (seeded, 2,000 pairs of samples)."""
    draw = np.random.default_rng(5)
    shares = np.full(20, 0.05)
    pairs = [(draw.multinomial(5_000, shares), draw.multinomial(1_000, shares)) for _ in range(2_000)]
    assert np.mean([psi(*pair) for pair in pairs]) == pytest.approx(expected_psi(*pairs[0]), rel=0.03)
