"""Figures of several measurements: slopes, and ratios taken round by round: what disturbs a round disturbs both of its sides."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' ratios. Raises `ValueError` if there are not as many of each."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


@dataclass(frozen=True)
class Slope:
    """A straight line's rise for each unit of x, and its standard error."""

    rise: float
    error: float

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> Self:
        """The line of least squares through three points or more."""
        rise, base = statistics.linear_regression(x, y)
        mean = statistics.fmean(x)
        rest = sum((there - base - rise * at) ** 2 for at, there in zip(x, y, strict=True))
        return cls(rise, (rest / (len(x) - 2) / sum((at - mean) ** 2 for at in x)) ** 0.5)
