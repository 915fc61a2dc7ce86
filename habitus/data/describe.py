"""What is in a file of person records: counts, levels, missing cells and ranges, for people and for scripts."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from feature_repo.labels import LEVELS
from habitus.data.columns import NUMERIC, PERSON, PUBLISHED, TIME, level_in, name_in


@dataclass(frozen=True)
class Attribute:
    """One attribute: cells that are empty, and either its range or its commonest values with their counts.

    A cell of a numeric attribute that holds no number counts as unreadable.
    """

    name: str
    missing: int
    unreadable: int
    lowest: float | None
    median: float | None
    highest: float | None
    values: dict[str, int]


@dataclass(frozen=True)
class Description:
    """A file's rows in numbers. `persons` counts rows where they name no person."""

    rows: int
    persons: int
    first_time: str | None
    last_time: str | None
    levels: dict[str, int]
    missing_columns: tuple[str, ...]
    attributes: tuple[Attribute, ...]


def describe(rows: pd.DataFrame) -> Description:
    """Count what `rows` hold; columns may have their published names or the record's own."""
    stated = rows[TIME] if TIME in rows else pd.Series(dtype=object)
    times = pd.to_datetime(stated, utc=True, errors="coerce", format="ISO8601").dropna()
    present = {published: name for published in PUBLISHED if (name := name_in(rows, published)) is not None}
    return Description(
        rows=len(rows),
        persons=int(rows[PERSON].nunique()) if PERSON in rows else len(rows),
        first_time=min(times).isoformat(timespec="seconds") if len(times) else None,
        last_time=max(times).isoformat(timespec="seconds") if len(times) else None,
        levels=_levels(rows),
        missing_columns=tuple(name for name in PUBLISHED if name not in present),
        attributes=tuple(_attribute(rows[name], numeric=published in NUMERIC) for published, name in present.items()),
    )


def _levels(rows: pd.DataFrame) -> dict[str, int]:
    column = level_in(rows)
    if column is None:
        return {}
    counts = _counts(rows[column])
    known = {level: counts.pop(level) for level in LEVELS if level in counts}
    return known | counts


def _attribute(values: pd.Series, *, numeric: bool) -> Attribute:
    missing = int(values.isna().sum())
    if not numeric:
        return Attribute(str(values.name), missing, 0, None, None, None, _counts(values))
    numbers = pd.to_numeric(values, errors="coerce")
    unreadable = int(numbers.isna().sum()) - missing
    lowest, median, highest = (
        (float(numbers.min()), float(numbers.median()), float(numbers.max())) if numbers.notna().any() else (None, None, None)
    )
    return Attribute(str(values.name), missing, unreadable, lowest, median, highest, {})


def _counts(values: pd.Series) -> dict[str, int]:
    counted: dict[Any, int] = values.dropna().astype(str).value_counts().to_dict()
    return {str(value): int(count) for value, count in counted.items()}
