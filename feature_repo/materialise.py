"""Records to feature rows: attributes, derived features and the fold over time, in log order.

Place in the flow: between validation and the history. Given the same records and states it gives the same bits,
however the records are cut into batches.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from feature_repo.features import BY_NAME, FEATURES, derive
from feature_repo.person import ATTRIBUTES, PersonRecord
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import Observation, PersonState, TemporalFeatures, advance, to_us

EMPTY = PersonState()


@dataclass(frozen=True)
class Located:
    """A valid record with its event time, and where in the log it stands."""

    record: PersonRecord
    topic: str
    partition: int
    offset: int
    ingested_at: datetime


def materialise(
    records: Sequence[Located], states: Mapping[str, PersonState], epoch: int = 0
) -> tuple[pa.Table, dict[str, PersonState]]:
    """Feature rows of `records` of one partition, in their order, and the states after them of the persons in them.

    `states` holds what is known of each person in `epoch` (absent: nothing). Raises `ValueError` if the records are not in log
    order or were applied to their state before: folding one twice would count it twice.
    """
    attributes = attribute_columns([located.record for located in records])
    derived = derive(attributes)
    after, temporal = _fold(records, derived["bmi"].tolist(), states, PersonState(epoch))
    columns: dict[str, Any] = attributes | derived
    arrays = {name: _arrow(name, columns[name]) for name in columns}
    arrays |= {name: [getattr(row, name) for row in temporal] for name in _temporal_names()}
    arrays |= _origin(records)
    table = pa.Table.from_pydict(arrays, schema=PERSON_FEATURES.schema)
    return table, after


def inline_row(record: PersonRecord, state: PersonState | None) -> dict[str, Any]:
    """The features of a record given with a request, folded on the stored state; nothing is stored. `record` has its
    event time.
    """
    known = state or EMPTY
    located = Located(record, "", 0, known.offset + 1, event_time(record))
    row: dict[str, Any] = materialise([located], {record.person_id: known})[0].to_pylist()[0]
    return row


def observe(
    person_ids: Iterable[str], observations: Iterable[Observation], states: dict[str, PersonState], epoch: int = 0
) -> None:
    """Advance `states` in place by observations already materialised, in log order; those that a state holds are skipped.

    How the online store catches up from the history without recomputing a feature.
    """
    unknown = PersonState(epoch)
    for person_id, seen in zip(person_ids, observations, strict=True):
        state = states.get(person_id, unknown)
        if seen.offset > state.offset:
            states[person_id], _ = advance(state, seen)


def attribute_columns(records: Sequence[PersonRecord]) -> dict[str, npt.NDArray[Any]]:
    """The attributes of n records as columns of n rows: numbers and flags as float64 with NaN, categories as objects
    with None.
    """
    return {
        name: np.array(
            [getattr(record, name) for record in records],
            dtype=object if BY_NAME[name].dtype == "category" else np.float64,
        )
        for name in ATTRIBUTES
    }


def event_time(record: PersonRecord) -> datetime:
    """The record's event time. Raises `ValueError` if `resolve_time` has not given it one."""
    if record.event_timestamp is None:
        raise ValueError(f"the record of {record.person_id} has no event time yet")
    return record.event_timestamp


def _fold(
    records: Sequence[Located], bmis: Sequence[float], states: Mapping[str, PersonState], unknown: PersonState
) -> tuple[dict[str, PersonState], list[TemporalFeatures]]:
    if any(later.offset <= earlier.offset for earlier, later in pairwise(records)):
        raise ValueError("records are not in log order")
    after: dict[str, PersonState] = {}
    rows: list[TemporalFeatures] = []
    for located, bmi in zip(records, bmis, strict=True):
        record = located.record
        state = after.get(record.person_id) or states.get(record.person_id, unknown)
        if located.offset <= state.offset:
            raise ValueError(f"{located.topic}[{located.partition}]@{located.offset} was applied before")
        seen = Observation(to_us(event_time(record)), located.offset, record.weight_kg, bmi)
        after[record.person_id], row = advance(state, seen)
        rows.append(row)
    return after, rows


def _origin(records: Sequence[Located]) -> dict[str, list[Any]]:
    return {
        "person_id": [located.record.person_id for located in records],
        "event_timestamp": [event_time(located.record) for located in records],
        "ingested_at": [located.ingested_at for located in records],
        "source_topic": [located.topic for located in records],
        "source_partition": [located.partition for located in records],
        "source_offset": [located.offset for located in records],
    }


def _arrow(name: str, values: npt.NDArray[Any]) -> pa.Array:
    dtype = BY_NAME[name].dtype
    if dtype == "category":
        return pa.array(values, pa.string())
    missing = np.isnan(values)
    if dtype == "float":
        return pa.array(values, pa.float64(), mask=missing)
    whole = np.where(missing, 0, values)
    return (
        pa.array(whole.astype(bool), pa.bool_(), mask=missing)
        if dtype == "bool"
        else pa.array(whole.astype(np.int64), mask=missing)
    )


def _temporal_names() -> tuple[str, ...]:
    return (*(feature.name for feature in FEATURES if feature.kind == "temporal"), "late")
