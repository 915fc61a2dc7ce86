"""Records to rows: the same bits however the log is cut, from a stream, a catch-up or a request."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.features import FEATURE_NAMES
from feature_repo.materialise import Located, inline_row, materialise, observe
from feature_repo.person import PersonRecord
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import Observation, PersonState, to_us

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def record(person_id: str = "ann", hours: float = 0, **fields: Any) -> PersonRecord:
    given = {"gender": "Male", "age_years": 40, "height_m": 1.8, "weight_kg": 81.0} | fields
    return PersonRecord(person_id=person_id, event_timestamp=NOON + timedelta(hours=hours), **given)


def located(offset: int, **fields: Any) -> Located:
    return Located(record(**fields), "person.records", 2, offset, NOON)


LOG = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.floats(40, 90), st.one_of(st.none(), st.floats(0, 3))), max_size=20
).map(
    lambda drawn: [
        located(3 * number, person_id=person_id, hours=hours, weight_kg=weight_kg, physical_activity_frequency=activity)
        for number, (person_id, hours, weight_kg, activity) in enumerate(drawn)
    ]
)


@given(LOG, st.lists(st.integers(0, 20), max_size=4))
@settings(max_examples=60, deadline=None)
def test_cuts_change_neither_rows_nor_states(log: list[Located], cuts: list[int]) -> None:
    whole, states = materialise(log, {})
    held: dict[str, PersonState] = {}
    tables = [PERSON_FEATURES.schema.empty_table()]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(log)), len(log)]
    for start, end in pairwise(bounds):
        rows, after = materialise(log[start:end], held)
        held |= {person_id: PersonState.decode(state.encode()) for person_id, state in after.items()}
        tables.append(rows)
    assert pa.concat_tables(tables).to_pylist() == whole.to_pylist()
    assert held == states


@given(LOG, st.integers(0, 20))
@settings(max_examples=40, deadline=None)
def test_catching_up_from_rows_gives_the_states_of_the_fold(log: list[Located], known: int) -> None:
    """Promise: states made again from the history, over states that hold a part of it, are those of the stream."""
    rows, states = materialise(log, {})
    held = dict(materialise(log[:known], {})[1])
    columns = [rows[name].to_pylist() for name in ("event_timestamp", "source_offset", "weight_kg", "bmi")]
    seen = [Observation(to_us(moment), *rest) for moment, *rest in zip(*columns, strict=True)]
    observe(rows["person_id"].to_pylist(), seen, held)
    assert held == states


def test_a_row_has_the_historys_schema_and_its_origin() -> None:
    rows, _ = materialise([located(7)], {})
    assert rows.schema == PERSON_FEATURES.schema
    (row,) = rows.to_pylist()
    assert (row["person_id"], row["source_topic"], row["source_partition"], row["source_offset"]) == (
        "ann",
        "person.records",
        2,
        7,
    )
    assert (row["event_timestamp"], row["ingested_at"], row["late"]) == (NOON, NOON, False)


def test_a_missing_attribute_is_null_and_so_is_what_needs_it() -> None:
    (row,) = materialise([located(0)], {})[0].to_pylist()
    assert [row[name] for name in ("smokes", "transport", "pal", "tdee_kcal", "sufficient_water", "healthy_habits")] == [None] * 6
    assert row["bmi"] == pytest.approx(25)


def test_folding_a_record_twice_is_refused() -> None:
    _, states = materialise([located(3)], {})
    with pytest.raises(ValueError, match="@3 was applied before"):
        materialise([located(3)], states)


def test_records_out_of_log_order_are_refused() -> None:
    with pytest.raises(ValueError, match="not in log order"):
        materialise([located(3), located(2)], {})


def test_a_record_without_an_event_time_is_refused() -> None:
    timeless = record().model_copy(update={"event_timestamp": None})
    with pytest.raises(ValueError, match="has no event time"):
        materialise([Located(timeless, "t", 0, 0, NOON)], {})


def test_an_inline_record_gives_what_the_stream_would_have_given() -> None:
    _, states = materialise([located(0, weight_kg=80.0)], {})
    inline = inline_row(record(hours=24, weight_kg=82.0), states["ann"])
    (streamed,) = materialise([located(1, hours=24, weight_kg=82.0)], states)[0].to_pylist()
    assert {name: inline[name] for name in FEATURE_NAMES} == {name: streamed[name] for name in FEATURE_NAMES}
    assert inline_row(record(), None)["records_seen"] == 1
