"""Slices of the population, defined once for trainer and monitor: which rows belong to which slice."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

AGE_BANDS = ((5, 18), (18, 25), (25, 35), (35, 50), (50, 121))
# The survey's own answers are whole numbers; synthesised rows are not. Much harder to predict (docs: facts on the data).
_WHOLE_NUMBER_ANSWERS = (
    "age_years",
    "vegetable_frequency",
    "main_meals_per_day",
    "water_intake",
    "physical_activity_frequency",
    "technology_use",
)


def slices(frame: pd.DataFrame) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Name and members (n booleans) of every slice of n rows of features; a slice may be empty."""
    for gender in ("Female", "Male"):
        yield f"gender={gender}", np.asarray(frame["gender"] == gender)
    for low, high in AGE_BANDS:
        yield f"age={low}-{high - 1}", np.asarray((frame["age_years"] >= low) & (frame["age_years"] < high))
    answers = frame[list(_WHOLE_NUMBER_ANSWERS)]
    whole = np.asarray((answers.isna() | (answers % 1 == 0)).all(axis=1))
    yield "whole_number_answers=yes", whole
    yield "whole_number_answers=no", ~whole
    yield "records_seen=1", np.asarray(frame["records_seen"] == 1)
    yield "records_seen=2+", np.asarray(frame["records_seen"] > 1)
