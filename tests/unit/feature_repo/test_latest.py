"""Which of several rows of one record, of several labels of one record, of several log entries of one request counts."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.latest import counted_labels, counted_predictions, counted_rows

T0 = datetime(2025, 1, 1, tzinfo=UTC)
# (person, event minute, minute of the message)
TOLD = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 5)), max_size=12)


def told(rows: list[tuple[str, int, int]]) -> pd.DataFrame:
    """A row each, at offsets in the order given."""
    columns = ["person_id", "event_timestamp", "ingested_at", "source_offset"]
    made = [(person, _at(event), _at(sent), offset) for offset, (person, event, sent) in enumerate(rows)]
    return pd.DataFrame(made, columns=columns)


def _at(minute: int) -> pd.Timestamp:
    return pd.Timestamp(T0 + timedelta(minutes=minute))


def offsets(rows: pd.DataFrame) -> list[int]:
    return sorted(rows["source_offset"].tolist())


def test_of_equal_event_times_the_row_that_is_last_in_the_log_counts_whatever_its_message_time() -> None:
    assert offsets(counted_rows(told([("a", 0, 6), ("a", 0, 5), ("b", 0, 5), ("a", 1, 6)]))) == [1, 2, 3]


@pytest.mark.parametrize(
    ("sent", "counts"),
    [
        ([("a", 0, 5), ("a", 0, 6)], 1),  # corrected
        ([("a", 0, 6), ("a", 0, 5)], 0),  # an older one is published again
        ([("a", 0, 5), ("a", 0, 5)], 1),  # at the same moment
    ],
)
def test_of_several_labels_of_a_record_the_one_sent_last_counts(sent: list[tuple[str, int, int]], counts: int) -> None:
    assert offsets(counted_labels(told(sent))) == [counts]


def test_what_came_after_the_cut_off_supersedes_nothing() -> None:
    rows = told([("a", 0, 5), ("a", 0, 7)])
    assert [offsets(counted(rows, _at(6))) for counted in (counted_rows, counted_labels)] == [[0], [0]]


@settings(max_examples=50, deadline=None)
@given(TOLD, st.randoms(use_true_random=False))
def test_the_order_of_reading_decides_nothing_and_each_record_has_one(rows: list[tuple[str, int, int]], chance: object) -> None:
    frame = told(rows)
    mixed = frame.sample(frac=1.0, random_state=chance.randrange(1000))  # type: ignore[attr-defined]
    for counted in (counted_rows, counted_labels):
        assert offsets(counted(mixed)) == offsets(counted(frame))
        assert not counted(frame).duplicated(["person_id", "event_timestamp"]).any()
        assert len(counted(frame)) == len({each[:2] for each in rows})


def test_a_prediction_that_was_logged_twice_is_one() -> None:
    rows = told([("a", 0, 5), ("a", 0, 5), ("a", 0, 5)]).assign(request_id=["r1", "r1", "r2"], source_partition=0, shadow=None)
    assert offsets(counted_predictions(rows)) == [1, 2]


def test_what_a_shadow_made_of_a_request_never_stands_for_its_answer() -> None:
    """Promise: a shadow's entry has the request id of the answer, comes after it, and is no answer."""
    rows = told([("a", 0, 5), ("a", 0, 5), ("a", 0, 5)])
    rows = rows.assign(request_id=["r1", "r1", "r2"], source_partition=0, shadow=[False, True, None])
    assert offsets(counted_predictions(rows)) == [0, 2]
