"""The published data's columns, and how to find an attribute in a frame under either of its names."""

import pandas as pd

from feature_repo.person import ALIASES, LEVEL_FIELDS

PERSON, TIME, ROW_ID = "person_id", "event_timestamp", "id"
GENDER, AGE, HEIGHT, WEIGHT = "Gender", "Age", "Height", "Weight"
FAMILY_HISTORY = "family_history_with_overweight"
LEVEL = "NObeyesdad"
PUBLISHED: tuple[str, ...] = tuple(ALIASES)
NUMERIC: tuple[str, ...] = (AGE, HEIGHT, WEIGHT, "FCVC", "NCP", "CH2O", "FAF", "TUE")

_YES_NO = ("no", "yes")
_FREQUENCY = ("no", "Sometimes", "Frequently", "Always")
# In the order of their meaning, least first: a rank correlation with another attribute then says something.
ORDERED_VALUES: dict[str, tuple[str, ...]] = {
    FAMILY_HISTORY: _YES_NO,
    "FAVC": _YES_NO,
    "CAEC": _FREQUENCY,
    "SMOKE": _YES_NO,
    "SCC": _YES_NO,
    "CALC": _FREQUENCY,
    "MTRANS": ("Walking", "Bike", "Public_Transportation", "Motorbike", "Automobile"),
}


def name_in(frame: pd.DataFrame, published: str) -> str | None:
    """What `frame` calls the published attribute: that name, the record's own, or None if it has neither."""
    return next((name for name in (published, ALIASES.get(published, published)) if name in frame.columns), None)


def is_missing(value: object) -> bool:
    """Whether a cell is empty: None, NaN or NaT. Lists and other odd values of JSON rows are not."""
    return value is None or value is pd.NaT or (isinstance(value, float) and value != value)  # noqa: PLR0124  NaN


def level_in(frame: pd.DataFrame) -> str | None:
    """The column of `frame` that holds the obesity level, or None."""
    return next((name for name in LEVEL_FIELDS if name in frame.columns), None)
