"""Of several rows that speak of the same thing, the one that counts."""

import pyarrow as pa
import pyarrow.compute as pc

_NEWEST_FIRST = [("event_timestamp", "descending"), ("source_offset", "descending")]


def latest_of_persons(rows: pa.Table) -> pa.Table:
    """Of each person in `rows` (of one partition) the row with the greatest (event time, offset); sorted by person."""
    ordered = rows.take(pc.sort_indices(rows, sort_keys=[("person_id", "ascending"), *_NEWEST_FIRST])).combine_chunks()
    persons = ordered["person_id"]
    changes = pc.not_equal(persons.slice(1), persons.slice(0, max(len(persons) - 1, 0)))
    first = pa.chunked_array([pa.array([True] * min(len(persons), 1), pa.bool_()), *changes.chunks], pa.bool_())
    return ordered.filter(first)
