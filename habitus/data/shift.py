"""Drift scenarios: what changes in a population or in how it is measured.

Place in the flow: applied to rows of a file, or simulated ones, before they become messages.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from habitus.data.columns import AGE, GENDER, HEIGHT, WEIGHT, level_in, name_in
from habitus.data.copula import cell_probabilities, choose
from habitus.data.statistics import Floats, load_statistics
from runtime.errors import HabitusError

_OLDEST_YEARS, _YOUNGEST_YEARS = 120.0, 5.0
# What those who changed their habits answer: they drive, sit more, snack, eat more calories.
_NEW_HABITS = {"MTRANS": "Automobile", "CAEC": "Frequently", "FAVC": "yes"}
_LESS_ACTIVITY, _MORE_SCREEN = -1.0, 1.0


@dataclass(frozen=True)
class Shift:
    """One scenario; the default changes nothing. Cells that hold no number are left as they are.

    weight_scale: factor on every weight, levels unchanged: a scale that reads too high (1.04) or too low.
    age: years added to every age, levels unchanged: an older population.
    heavier: kilograms really gained by everybody; levels, where given, are drawn anew from p(level | gender, BMI).
    habits: share of rows (0 to 1) whose owners now drive, sit and snack more, levels unchanged.
    """

    weight_scale: float = 1.0
    age: float = 0.0
    heavier: float = 0.0
    habits: float = 0.0

    def __post_init__(self) -> None:
        if self.weight_scale <= 0 or not 0 <= self.habits <= 1:
            raise HabitusError("a weight scale must be above 0 and a share of habits from 0 to 1", remedy=_remedy())

    @classmethod
    def parse(cls, texts: Iterable[str]) -> "Shift":
        """The shift of texts such as `weight-scale=1.04`, `age=5`. Raises `HabitusError`, naming the bad one."""
        known = {field.name.replace("_", "-"): field.name for field in fields(cls)}
        given = {}
        for text in texts:
            match = re.fullmatch(r"([a-z-]+)=([+-]?\d+(?:\.\d+)?)", text)
            if not match or match[1] not in known:
                raise HabitusError(f"unknown shift {text!r}", remedy=_remedy())
            given[known[match[1]]] = float(match[2])
        return cls(**given)

    def apply(self, rows: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
        """`rows` (published or the record's own column names) as they look after the shift; `rows` stay unchanged."""
        if self == Shift():
            return rows
        shifted = rows.copy()
        generator = np.random.default_rng(seed)
        _change(shifted, AGE, lambda years: np.clip(years + self.age, _YOUNGEST_YEARS, _OLDEST_YEARS) if self.age else years)
        _change(shifted, WEIGHT, lambda kg: kg + self.heavier)
        if self.heavier:
            _relabel(shifted, generator)
        _change(shifted, WEIGHT, lambda kg: (kg * self.weight_scale).round(3))
        if self.habits:
            _change_habits(shifted, generator.random(len(rows)) < self.habits)
        return shifted


def _remedy() -> str:
    return "use weight-scale=1.04, age=5, heavier=6 or habits=0.3"


def _numbers(rows: pd.DataFrame, name: str) -> Floats:
    return pd.to_numeric(rows[name], errors="coerce").to_numpy(dtype=float)


def _change(rows: pd.DataFrame, published: str, change: Callable[[Floats], Floats]) -> None:
    name = name_in(rows, published)
    if name is None:
        return
    values = _numbers(rows, name)
    readable = np.isfinite(values)
    if readable.all():
        rows[name] = change(values)
    else:
        rows[name] = np.where(readable, change(values).astype(object), rows[name].to_numpy(dtype=object))


def _change_habits(rows: pd.DataFrame, changed: npt.NDArray[np.bool_]) -> None:
    _change(rows, "FAF", lambda activity: np.where(changed, np.maximum(activity + _LESS_ACTIVITY, 0.0), activity))
    _change(rows, "TUE", lambda screen: np.where(changed, np.minimum(screen + _MORE_SCREEN, 2.0), screen))
    for published, answer in _NEW_HABITS.items():
        name = name_in(rows, published)
        if name is not None:
            kind = rows[name].dropna()
            new = True if len(kind) and isinstance(kind.iloc[0], bool | np.bool_) else answer
            rows[name] = rows[name].where(~changed, new)


def _relabel(rows: pd.DataFrame, generator: np.random.Generator) -> None:
    level, gender, height, weight = level_in(rows), *(name_in(rows, name) for name in (GENDER, HEIGHT, WEIGHT))
    if level is None or gender is None or height is None or weight is None:
        return
    bmi = _numbers(rows, weight) / _numbers(rows, height) ** 2
    cells = load_statistics().cells
    nobody = np.full(len(rows), -1, dtype=np.int64)
    chances = cell_probabilities(load_statistics(), rows[gender].to_numpy(), np.nan_to_num(bmi))
    drawn = choose(chances, generator.random(len(rows)), nobody)
    names = np.array([cell.level for cell in cells])
    rows[level] = np.where(drawn < 0, rows[level].to_numpy(dtype=object), names[drawn])
