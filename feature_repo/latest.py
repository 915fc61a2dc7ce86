"""Of several rows that speak of the same thing, the one that counts."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

IDENTITY = ["person_id", "event_timestamp"]

_NEWEST_FIRST = [("event_timestamp", "descending"), ("source_offset", "descending")]


def latest_of_persons(rows: pa.Table) -> pa.Table:
    """Of each person in `rows` (of one partition) the row with the greatest (event time, offset); sorted by person."""
    ordered = rows.take(pc.sort_indices(rows, sort_keys=[("person_id", "ascending"), *_NEWEST_FIRST])).combine_chunks()
    persons = ordered["person_id"]
    changes = pc.not_equal(persons.slice(1), persons.slice(0, max(len(persons) - 1, 0)))
    first = pa.chunked_array([pa.array([True] * min(len(persons), 1), pa.bool_()), *changes.chunks], pa.bool_())
    return ordered.filter(first)


def counted_rows(rows: pd.DataFrame, as_of: datetime | None = None) -> pd.DataFrame:
    """Of the feature rows known at `as_of` (None: all) the one of each person and event time that is last in the log, as online.

    All records of a person lie in one partition, so their offsets can be compared; their message times may run backwards.
    """
    return _last(_known(rows, as_of), IDENTITY, ["source_offset"])


def counted_labels(labels: pd.DataFrame, as_of: datetime | None = None) -> pd.DataFrame:
    """Of the labels known at `as_of` (None: all) the one of each person and event time with the greatest (message time, offset).

    So a correction counts from when it was sent, and a label that is published again with its old time changes nothing.
    """
    return _last(_known(labels, as_of), IDENTITY, ["ingested_at", "source_offset"])


def counted_predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    """What was answered, one row a request: the log is written at least once, and holds shadows beside answers."""
    answered = predictions[~predictions["shadow"].isin([True])]  # null in rows older than shadows
    return _last(answered, ["request_id"], ["ingested_at", "source_partition", "source_offset"])


def _known(rows: pd.DataFrame, as_of: datetime | None) -> pd.DataFrame:
    return rows if as_of is None else rows[rows["ingested_at"] <= as_of]


def _last(rows: pd.DataFrame, identity: Sequence[str], order: Sequence[str]) -> pd.DataFrame:
    return rows.sort_values(list(order), kind="stable").drop_duplicates(list(identity), keep="last")
