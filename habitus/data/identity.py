"""Who and when, for rows that do not say: the one rule, stated and seeded, so that a replay is repeatable.

Place in the flow: between a file's rows and their messages. Published rows name neither person nor time; with this rule
point-in-time joins over them mean something.
"""

import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from habitus.data.columns import PERSON, ROW_ID, TIME, is_missing

DEFAULT_ANCHOR = datetime(2025, 1, 1, tzinfo=UTC)
_ID_DIGITS = 6
_SOURCE_LENGTH = 48  # with a dash and the number it stays within the 64 characters of a person id
_MS = timedelta(milliseconds=1)
MESSAGE_TIME = "message_timestamp"
_EPOCH = pd.Timestamp(0, tz="UTC")

StretchName = Literal["history", "production"]
_BEFORE = timedelta(days=180)
_AFTER = timedelta(days=90)
_PRODUCTION_NAMES = ("current", "production", "drift")


@dataclass(frozen=True)
class Stretch:
    """A span of time, `start` included, `end` excluded, that events without a time are spread over."""

    start: datetime
    end: datetime

    @classmethod
    def named(cls, name: StretchName, anchor: datetime = DEFAULT_ANCHOR) -> "Stretch":
        """The 180 days before `anchor` for history, the 90 days from it on for production."""
        return cls(anchor - _BEFORE, anchor) if name == "history" else cls(anchor, anchor + _AFTER)

    def moments(self, uniform: npt.NDArray[np.float64]) -> pd.Series:
        """Aware UTC times to the millisecond at these fractions (0 to 1) of the stretch."""
        offsets = (uniform * ((self.end - self.start) / _MS)).astype("int64")
        return pd.Series(pd.Timestamp(self.start) + pd.to_timedelta(offsets, unit="ms"))


def infer_stretch(source: str) -> StretchName:
    """Production for a source named after current, production or drifted rows; history for every other."""
    return "production" if any(word in source.lower() for word in _PRODUCTION_NAMES) else "history"


def clean_source(name: str) -> str:
    """`name` with every run of characters that a person id may not hold replaced by one dash; never empty."""
    return re.sub(r"[^A-Za-z0-9_.:]+", "-", name).strip("-")[:_SOURCE_LENGTH] or "rows"


def with_identity(rows: pd.DataFrame, source: str, stretch: Stretch, *, now: datetime, seed: int = 0) -> pd.DataFrame:
    """`rows` with a `person_id`, an `event_timestamp` and a MESSAGE_TIME in every row; what a row states is left as it is.

    A row that names no person is a person of its own, `<source>-<number>`: the number is its `id` where the rows have
    one, else its place in the file from 0, padded with zeros to six digits. A row without a time gets one drawn
    uniformly from `stretch`, by a generator seeded with the source's name and `seed`: the n-th row of a source always
    gets the same time, however many rows follow it. The message's time is the row's own; where that cannot be read, or
    Kafka would not take it (before 1970, after `now`), it is the drawn one, and the stream judges the row.
    """
    generator = np.random.default_rng([zlib.crc32(source.encode()), seed])
    drawn = stretch.moments(generator.random(len(rows))).set_axis(rows.index)
    return rows.assign(
        **{
            PERSON: _filled(rows, PERSON, _row_names(rows, clean_source(source))),
            TIME: _filled(rows, TIME, drawn.tolist()),
            MESSAGE_TIME: _acceptable(rows, pd.Timestamp(now)).fillna(drawn).dt.floor("ms"),
        }
    )


def _filled(rows: pd.DataFrame, name: str, otherwise: list[Any]) -> pd.Series:
    stated = rows[name].tolist() if name in rows else [None] * len(rows)
    values = [other if is_missing(value) else value for value, other in zip(stated, otherwise, strict=True)]
    return pd.Series(values, index=rows.index, dtype=object)


def _acceptable(rows: pd.DataFrame, now: pd.Timestamp) -> pd.Series:
    stated = rows[TIME] if TIME in rows else pd.Series(pd.NaT, index=rows.index)
    texts = stated.map(lambda value: value if isinstance(value, str | datetime) else None)
    times = pd.to_datetime(texts, utc=True, errors="coerce", format="ISO8601").astype("datetime64[ns, UTC]")
    return times.where((times >= _EPOCH) & (times <= now))


def _row_names(rows: pd.DataFrame, source: str) -> list[str]:
    numbers = rows[ROW_ID].tolist() if ROW_ID in rows else range(len(rows))
    return [f"{source}-{clean_source(str(number)).zfill(_ID_DIGITS)}" for number in numbers]
