"""Rows that say neither who nor when get both by a rule that never changes."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.data.columns import PERSON, TIME
from habitus.data.identity import DEFAULT_ANCHOR, MESSAGE_TIME, Stretch, clean_source, infer_stretch, with_identity

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HISTORY, PRODUCTION = Stretch.named("history"), Stretch.named("production")


def rows(count: int) -> pd.DataFrame:
    return pd.DataFrame({"Weight": [70.0] * count})


def test_a_row_without_a_person_is_named_after_its_source_and_place() -> None:
    named = with_identity(rows(2), "Train file (1)", HISTORY, now=NOW)
    assert named[PERSON].tolist() == ["Train-file-1-000000", "Train-file-1-000001"]


def test_a_row_with_an_id_is_named_after_it() -> None:
    named = with_identity(rows(2).assign(id=["17", 20757]), "train", HISTORY, now=NOW)
    assert named[PERSON].tolist() == ["train-000017", "train-020757"]


def test_what_a_row_states_itself_is_left_as_it_is() -> None:
    stated = rows(3).assign(**{PERSON: ["ada", None, ""], TIME: ["2024-02-03T04:05:06Z", "no time", None]})
    named = with_identity(stated, "s", HISTORY, now=NOW)
    assert named[PERSON].tolist() == ["ada", "s-000001", ""]
    assert named[TIME].tolist()[:2] == ["2024-02-03T04:05:06Z", "no time"]
    assert named[MESSAGE_TIME][0] == pd.Timestamp("2024-02-03T04:05:06Z")


@pytest.mark.parametrize("odd", ["no time", "1969-12-31T00:00:00Z", "2026-01-01T00:00:01Z", "9999-99-99", ["2024-01-01"], 5])
def test_a_time_that_kafka_would_not_take_is_left_to_the_stream_to_judge(odd: object) -> None:
    """The message gets the drawn time; the record keeps what the row says, and the stream rejects it."""
    named = with_identity(rows(1).assign(**{TIME: [odd]}), "s", HISTORY, now=NOW)
    assert named[TIME][0] == odd
    assert HISTORY.start <= named[MESSAGE_TIME][0] < HISTORY.end


@given(count=st.integers(1, 50), more=st.integers(0, 50), seed=st.integers(0, 2**32))
def test_the_nth_row_of_a_source_always_gets_the_same_time(count: int, more: int, seed: int) -> None:
    short = with_identity(rows(count), "s", PRODUCTION, now=NOW, seed=seed)
    long = with_identity(rows(count + more), "s", PRODUCTION, now=NOW, seed=seed)
    pd.testing.assert_frame_equal(short, long.head(count))
    assert short[MESSAGE_TIME].between(PRODUCTION.start, PRODUCTION.end, inclusive="left").all()
    assert (short[TIME].astype("datetime64[ns, UTC]") == short[MESSAGE_TIME]).all()


def test_other_sources_and_seeds_give_other_times() -> None:
    times = [
        with_identity(rows(5), source, HISTORY, now=NOW, seed=seed)[TIME].tolist()
        for source, seed in (("a", 0), ("b", 0), ("a", 1))
    ]
    assert times[0] != times[1] != times[2] != times[0]


def test_history_ends_where_production_begins() -> None:
    assert HISTORY.end == PRODUCTION.start == DEFAULT_ANCHOR
    assert HISTORY.end - HISTORY.start == timedelta(days=180)
    assert PRODUCTION.end - PRODUCTION.start == timedelta(days=90)


@pytest.mark.parametrize(("source", "stretch"), [("train", "history"), ("current", "production"), ("Drifted-2", "production")])
def test_the_stretch_follows_from_the_source_s_name(source: str, stretch: str) -> None:
    assert infer_stretch(source) == stretch


@given(st.text())
def test_a_source_s_name_always_makes_a_valid_part_of_a_person_id(name: str) -> None:
    cleaned = clean_source(name)
    assert 1 <= len(cleaned) <= 48
    assert all(letter.isascii() and (letter.isalnum() or letter in "_.:-") for letter in cleaned)
