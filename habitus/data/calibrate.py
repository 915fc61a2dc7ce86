"""Calibrate the simulated population: `python -m habitus.data.calibrate train.csv` writes `population_statistics.json`.

Only aggregates are kept, of cells (level and gender) with at least SMALLEST_CELL rows; smaller ones (11 of 17,644 rows) are
left out, for their quantiles would be rows. The latent correlations are moved until draws from the copula show the rank
correlations of the rows, since values that many share (whole answers, categories) weaken a rank correlation.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from habitus.data.columns import AGE, GENDER, HEIGHT, LEVEL, ORDERED_VALUES, WEIGHT
from habitus.data.copula import observe
from habitus.data.files import read_rows
from habitus.data.statistics import BMI, DIMENSIONS, FILE, PROBABILITIES, Cell, Floats, PopulationStatistics

SMALLEST_CELL = 50
ROUNDING_UNIT = {AGE: 1.0, WEIGHT: 1.0, HEIGHT: 0.01}
_ROUNDS = 4
_DRAWS = 20_000


def calibrate(rows: pd.DataFrame) -> PopulationStatistics:
    """The statistics of `rows`, which have the published columns and levels."""
    rows = rows.assign(**{BMI: rows[WEIGHT] / rows[HEIGHT] ** 2})
    groups = rows.groupby([LEVEL, GENDER], sort=True)
    large = {key: group for key, group in groups if len(group) >= SMALLEST_CELL}
    cells = [_cell(str(level), str(gender), group, len(rows)) for (level, gender), group in large.items()]
    about = "Aggregates of the Kaggle Playground Series S4E2 training file (CC BY 4.0), by python -m habitus.data.calibrate"
    return PopulationStatistics(about=about, rows=len(rows), cells=tuple(cells))


def _cell(level: str, gender: str, rows: pd.DataFrame, total: int) -> Cell:
    numbers = [name for name in DIMENSIONS if name not in ORDERED_VALUES]
    start = Cell(
        level=level,
        gender=gender,
        share=round(len(rows) / total, 6),
        quantiles={name: tuple(np.quantile(rows[name], PROBABILITIES).round(3).tolist()) for name in numbers},
        categories={name: _shares(rows[name]) for name in ORDERED_VALUES},
        whole={},
        correlation=(0.0,) * (len(DIMENSIONS) * (len(DIMENSIONS) - 1) // 2),
    )
    return _with_rounding(_with_correlation(start, rows), rows)


def _shares(values: pd.Series) -> dict[str, float]:
    return {str(value): round(share, 5) for value, share in values.value_counts(normalize=True).items()}


def _with_correlation(cell: Cell, rows: pd.DataFrame) -> Cell:
    below = np.tril_indices(len(DIMENSIONS), -1)
    wanted = _rank_correlation(rows)[below]
    latent = np.zeros_like(wanted)
    for _ in range(_ROUNDS):
        latent = np.clip(latent + wanted - _rank_correlation(_draw(cell))[below], -0.98, 0.98)
        cell = cell.model_copy(update={"correlation": tuple(latent.round(3).tolist())})
        cell.__dict__.pop("factor", None)
    return cell


def _with_rounding(cell: Cell, rows: pd.DataFrame) -> Cell:
    drawn = _draw(cell)
    drawn[WEIGHT] = drawn[BMI] * drawn[HEIGHT] ** 2
    whole = {}
    for name, unit in ROUNDING_UNIT.items():
        already, wanted = _whole_share(drawn[name], unit), _whole_share(rows[name], unit)
        whole[name] = round(max(0.0, (wanted - already) / (1 - already)), 4)
    return cell.model_copy(update={"whole": whole})


def _whole_share(values: pd.Series, unit: float) -> float:
    steps = values / unit
    return float((np.abs(steps - steps.round()) < 1e-6).mean())  # noqa: PLR2004  beyond the data's six decimals


def _draw(cell: Cell) -> pd.DataFrame:
    normals = np.random.default_rng(0).standard_normal((_DRAWS, len(DIMENSIONS)))
    return pd.DataFrame(observe(cell, normals @ cell.factor.T))


def _rank_correlation(rows: pd.DataFrame) -> Floats:
    ranks = pd.DataFrame({name: _ordinal(rows[name], name).rank() for name in DIMENSIONS})
    correlation = ranks.corr().fillna(0.0).to_numpy(copy=True)  # an attribute that never varies correlates with nothing
    return np.asarray(correlation)


def _ordinal(values: pd.Series, name: str) -> pd.Series:
    order = {value: at for at, value in enumerate(ORDERED_VALUES.get(name, ()))}
    return values.map(order) if order else values


def _compact(statistics: PopulationStatistics) -> str:
    cells = ",\n".join(cell.model_dump_json() for cell in statistics.cells)
    head = statistics.model_dump_json(exclude={"cells"}).removesuffix("}")
    return f'{head},"cells":[\n{cells}\n]}}\n'


def main() -> None:
    """Calibrate on the file that the command line names."""
    statistics = calibrate(read_rows(Path(sys.argv[1])))
    Path(__file__).with_name(FILE).write_text(_compact(statistics), encoding="utf-8")


if __name__ == "__main__":
    main()
