"""A Gaussian copula for one cell of the population: latent normals become attributes, and back.

References: Nelsen, "An Introduction to Copulas" (2006); Patki, Wedge, Veeramachaneni, "The Synthetic Data Vault" (2016).
"""

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from habitus.data.columns import ORDERED_VALUES
from habitus.data.statistics import BMI, DIMENSIONS, PROBABILITIES, Cell, Floats, PopulationStatistics

Columns = dict[str, npt.NDArray[np.generic]]

_EDGE = 1e-4  # a value at the end of its range maps to this probability, not to an infinite normal
_DECIMALS = 6  # as published
_BANDWIDTH = 0.25  # kg/m2: BMI densities are differences of the distribution function over twice this


def observe(cell: Cell, latent: Floats) -> Columns:
    """The attributes (DIMENSIONS) of rows whose latent normals, shape (rows, dimensions), have the cell's correlation."""
    probabilities = ndtr(latent)
    return {
        name: _category(cell.categories[name], name, probabilities[:, at])
        if name in cell.categories
        else np.interp(probabilities[:, at], PROBABILITIES, cell.quantiles[name]).round(_DECIMALS)
        for at, name in enumerate(DIMENSIONS)
    }


def latent_of(cell: Cell, columns: Columns) -> Floats:
    """Latent normals from which `observe` makes `columns` again (values outside the cell's range move to its end)."""
    probabilities = [
        _category_probability(cell.categories[name], name, columns[name])
        if name in cell.categories
        else _middle_probability(cell.quantiles[name], columns[name].astype(float))
        for name in DIMENSIONS
    ]
    return np.asarray(ndtri(np.clip(np.column_stack(probabilities), _EDGE, 1 - _EDGE)))


def cell_probabilities(statistics: PopulationStatistics, gender: npt.NDArray[np.generic], bmi: Floats) -> Floats:
    """p(cell | gender, BMI) by Bayes' rule, shape (rows, cells); a row that no cell covers is all zeros. BMI in kg/m2."""
    weights = np.column_stack(
        [np.where(gender == cell.gender, cell.share * _bmi_density(cell, bmi), 0.0) for cell in statistics.cells]
    )
    total = weights.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(weights, total, out=np.zeros_like(weights), where=total > 0))


def choose(probabilities: Floats, uniform: Floats, otherwise: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One column a row, drawn by `probabilities` with the row's `uniform`; `otherwise` where a row is all zeros."""
    drawn = (probabilities.cumsum(axis=1) < uniform[:, None]).sum(axis=1)
    possible = probabilities.sum(axis=1) > 0
    return np.where(possible, np.minimum(drawn, probabilities.shape[1] - 1), otherwise)


def _middle_probability(quantiles: tuple[float, ...], values: Floats) -> Floats:
    """Where `values` lie in the distribution; for a value that many have, the middle of its share."""
    distinct, first, count = np.unique(quantiles, return_index=True, return_counts=True)
    steps = np.array(PROBABILITIES)
    left, right = steps[first], steps[first + count - 1]
    at = np.clip(np.searchsorted(distinct, values, side="right") - 1, 0, len(distinct) - 1)
    after = np.minimum(at + 1, len(distinct) - 1)
    gap = np.where(after > at, distinct[after] - distinct[at], 1.0)
    between = right[at] + np.clip((values - distinct[at]) / gap, 0, 1) * (left[after] - right[at])
    return np.asarray(np.where(values == distinct[at], (left[at] + right[at]) / 2, between))


def _bmi_density(cell: Cell, bmi: Floats) -> Floats:
    def below(values: Floats) -> Floats:
        return np.interp(values, cell.quantiles[BMI], PROBABILITIES, left=0, right=1)

    return (below(bmi + _BANDWIDTH) - below(bmi - _BANDWIDTH)) / (2 * _BANDWIDTH)


def _upper_ends(shares: dict[str, float], name: str) -> tuple[npt.NDArray[np.str_], Floats]:
    values = [value for value in ORDERED_VALUES[name] if value in shares]
    ends = np.cumsum([shares[value] for value in values])
    return np.array(values), ends / ends[-1]


def _category(shares: dict[str, float], name: str, probability: Floats) -> npt.NDArray[np.str_]:
    values, ends = _upper_ends(shares, name)
    return values[np.minimum(np.searchsorted(ends, probability), len(values) - 1)]


def _category_probability(shares: dict[str, float], name: str, observed: npt.NDArray[np.generic]) -> Floats:
    values, ends = _upper_ends(shares, name)
    middle = ends - np.diff(ends, prepend=0.0) / 2
    known = dict(zip(values.tolist(), middle.tolist(), strict=True))
    return np.array([known.get(value, 0.5) for value in observed.tolist()])
