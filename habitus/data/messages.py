"""Rows become Kafka messages: what is sent, under which key, with which time, in which order. Knows no Kafka client.

Place in the flow: `replay.py` sends what `Plan` yields. The same rows and options give the same bytes, always.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson
import pandas as pd

from feature_repo.labels import LEVELS
from feature_repo.person import LEVEL_FIELDS
from habitus.data.columns import PERSON, ROW_ID, TIME, is_missing, level_in
from habitus.data.files import UnreadableFile, rfc3339
from habitus.data.identity import DEFAULT_ANCHOR, MESSAGE_TIME, Stretch, StretchName, infer_stretch, with_identity
from habitus.data.shift import Shift

DEFAULT_LABEL_DELAY = timedelta(days=7)
_NOT_SENT = {*LEVEL_FIELDS, ROW_ID, MESSAGE_TIME}

Kind = Literal["record", "label"]


class Message(NamedTuple):
    """One message, before a client sends it. `timestamp_ms` is milliseconds since 1970."""

    kind: Kind
    key: bytes
    value: bytes
    timestamp_ms: int


@dataclass(frozen=True)
class ReplayOptions:
    """What to send of a file's rows, and how. `source` names the rows' origin in the ids of rows without a person.

    `offset` and `limit` choose rows by their place in the file; identity and shift do not depend on them. `shuffle` is a
    seed: rows go in a random order, all records first; without it, in time order. `stretch` None: inferred from `source`.
    """

    source: str
    stretch: StretchName | None = None
    anchor: datetime = DEFAULT_ANCHOR
    seed: int = 0
    shift: Shift = field(default_factory=Shift)
    shuffle: int | None = None
    label_delay: timedelta = DEFAULT_LABEL_DELAY
    records: bool = True
    labels: bool = True
    offset: int = 0
    limit: int | None = None
    rate_per_s: float | None = None


class Plan:
    """The messages of `rows` under `options`, in the order of sending; `now` bounds message times (Kafka refuses later ones)."""

    def __init__(self, rows: pd.DataFrame, options: ReplayOptions, *, now: datetime) -> None:
        self.options = options
        stretch = Stretch.named(options.stretch or infer_stretch(options.source), options.anchor)
        identified = with_identity(rows, options.source, stretch, now=now, seed=options.seed)
        shifted = options.shift.apply(identified, seed=options.seed)
        end = None if options.limit is None else options.offset + options.limit
        self.rows = shifted.iloc[options.offset : end]

    @property
    def persons(self) -> int:
        """How many distinct persons the chosen rows name."""
        return len({str(person) for person in self.rows[PERSON]})

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """The earliest and the latest message time."""
        times = [self._timestamp_ms(*each) for each in self.order]
        moments = [datetime.fromtimestamp(ms / 1000, UTC) for ms in (min(times), max(times))] if times else [None, None]
        return moments[0], moments[1]

    @cached_property
    def order(self) -> tuple[tuple[Kind, int], ...]:
        """Kind and row number of every message to send."""
        records = self._in_order("record", np.arange(len(self.rows))) if self.options.records else []
        labels = self._in_order("label", self._labelled) if self.options.labels else []
        if self.options.shuffle is not None:
            return (*records, *labels)
        return tuple(sorted((*records, *labels), key=lambda each: self._timestamp_ms(*each)))

    def __iter__(self) -> Iterator[Message]:
        for kind, number in self.order:
            yield self._message(kind, number)

    def __len__(self) -> int:
        return len(self.order)

    def _in_order(self, kind: Kind, numbers: npt.NDArray[np.int64]) -> list[tuple[Kind, int]]:
        if self.options.shuffle is not None:
            numbers = np.random.default_rng(self.options.shuffle).permutation(numbers)
        return [(kind, int(number)) for number in numbers]

    @cached_property
    def _columns(self) -> dict[str, list[Any]]:
        return {str(name): self.rows[name].tolist() for name in self.rows}

    @cached_property
    def _times_ms(self) -> npt.NDArray[np.int64]:
        return self.rows[MESSAGE_TIME].to_numpy(dtype="datetime64[ms]").astype(np.int64)

    @cached_property
    def _labelled(self) -> npt.NDArray[np.int64]:
        level = level_in(self.rows)
        known = [level is not None and not is_missing(value) for value in self._columns.get(level or "", ())]
        return np.flatnonzero(known)

    def _timestamp_ms(self, kind: Kind, number: int) -> int:
        delay = self.options.label_delay if kind == "label" else timedelta(0)
        return int(self._times_ms[number]) + delay // timedelta(milliseconds=1)

    def _message(self, kind: Kind, number: int) -> Message:
        fields = self._record(number) if kind == "record" else self._label(number)
        try:
            value = orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_UTC_Z)
            key = str(fields[PERSON]).encode()
        except (TypeError, UnicodeEncodeError) as error:
            row = self.options.offset + number + 1
            raise UnreadableFile(
                f"row {row} of {self.options.source} is no message: {error}", remedy="correct the row"
            ) from error
        return Message(kind, key, value, self._timestamp_ms(kind, number))

    def _record(self, number: int) -> dict[str, Any]:
        cells = {name: values[number] for name, values in self._columns.items() if name not in _NOT_SENT}
        return {name: _plain(value) for name, value in cells.items() if not is_missing(value)}

    def _label(self, number: int) -> dict[str, Any]:
        level = self._columns[level_in(self.rows) or LEVELS[0]][number]
        person, time = self._columns[PERSON][number], self._columns[TIME][number]
        return {PERSON: person, TIME: _plain(time), "obesity_level": level}


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp) and value.tzinfo is not None:
        return rfc3339(value)
    return value
