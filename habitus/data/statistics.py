"""The aggregate statistics that the simulated population is drawn from: shares, quantiles, correlations; no rows.

Place in the flow: `calibrate.py` writes them beside this file, `copula.py` draws from one cell, `simulator.py` from all.
"""

from functools import cache, cached_property
from importlib.resources import files

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from habitus.data.columns import AGE, FAMILY_HISTORY, HEIGHT

Floats = npt.NDArray[np.float64]

FILE = "population_statistics.json"
BMI = "bmi"
# What one person keeps (or, for age, what time alone moves) comes first: the simulator redraws only what follows.
PERSISTENT = (HEIGHT, FAMILY_HISTORY, AGE)
DIMENSIONS = (*PERSISTENT, BMI, "FCVC", "NCP", "CH2O", "FAF", "TUE", "FAVC", "CAEC", "SMOKE", "SCC", "CALC", "MTRANS")

# Steps of 2.5 %, finer at the ends: a straight line over the last 2.5 % makes the tails too heavy. With steps of 5 % a
# model trained on simulated rows lost a point of accuracy on the real ones.
PROBABILITIES: tuple[float, ...] = (0, 0.005, 0.01, *(step / 40 for step in range(1, 40)), 0.99, 0.995, 1)


class Cell(BaseModel):
    """One level and gender: its share of the population and how the other attributes are distributed in it.

    `quantiles` are at PROBABILITIES (a run of equal ones is a value that many have);
    `categories` are shares by value; `whole` is the share of values that people round (years, kilograms, centimetres)
    beyond those that the quantiles already hold; `correlation` is the lower triangle, row by row, of the latent
    normals' correlation in the order of DIMENSIONS, without the diagonal.
    """

    model_config = ConfigDict(frozen=True)

    level: str
    gender: str
    share: float
    quantiles: dict[str, tuple[float, ...]]
    categories: dict[str, dict[str, float]]
    whole: dict[str, float]
    correlation: tuple[float, ...]

    @cached_property
    def factor(self) -> Floats:
        """The Cholesky factor of the latent correlation, shape (dimensions, dimensions)."""
        matrix = np.eye(len(DIMENSIONS))
        matrix[np.tril_indices(len(DIMENSIONS), -1)] = self.correlation
        factor = np.linalg.cholesky(nearest_correlation(matrix + np.tril(matrix, -1).T))
        return np.asarray(factor, dtype=np.float64)


class PopulationStatistics(BaseModel):
    """All cells, with what they were calibrated on. Shares sum to 1."""

    model_config = ConfigDict(frozen=True)

    about: str
    rows: int
    cells: tuple[Cell, ...]

    @property
    def shares(self) -> Floats:
        """The cells' shares, summing to exactly 1."""
        shares = np.array([cell.share for cell in self.cells])
        return np.asarray(shares / shares.sum())


def nearest_correlation(matrix: Floats) -> Floats:
    """A positive definite correlation matrix near the symmetric `matrix`: eigenvalues lifted, diagonal back to 1."""
    values, vectors = np.linalg.eigh(matrix)
    lifted = (vectors * np.maximum(values, 1e-4)) @ vectors.T
    scale = np.sqrt(np.diag(lifted))
    return np.asarray(lifted / np.outer(scale, scale))


@cache
def load_statistics() -> PopulationStatistics:
    """The statistics that come with habitus."""
    text = files("habitus.data").joinpath(FILE).read_text(encoding="utf-8")
    return PopulationStatistics.model_validate_json(text)
