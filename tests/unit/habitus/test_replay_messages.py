"""What a replay sends: keys, values, times and order of messages, the same for the same rows."""

import json
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from habitus.data.files import UnreadableFile
from habitus.data.identity import Stretch
from habitus.data.messages import Message, Plan, ReplayOptions
from habitus.data.shift import Shift
from habitus.data.simulator import simulate

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = {
    "id": "7",
    "Gender": "Male",
    "Age": 24.4,
    "Height": 1.7,
    "Weight": 81.6,
    "SMOKE": None,
    "NObeyesdad": "Overweight_Level_II",
}
ROWS = simulate(40, stretch=Stretch.named("production"), seed=2)


def plan(rows: pd.DataFrame, **options: object) -> list[Message]:
    return list(Plan(rows, ReplayOptions(**({"source": "current"} | options)), now=NOW))


def kinds(messages: list[Message]) -> list[str]:
    return [message.kind for message in messages]


def test_a_published_row_becomes_a_record_without_its_level_and_a_delayed_label() -> None:
    record, label = plan(pd.DataFrame([ROW]), label_delay=timedelta(days=7))
    fields, told = json.loads(record.value), json.loads(label.value)
    assert record.key == label.key == b"current-000007"
    assert {"person_id", "event_timestamp", "Gender", "Age", "Height", "Weight"} == set(fields)
    assert told == {**{k: fields[k] for k in ("person_id", "event_timestamp")}, "obesity_level": "Overweight_Level_II"}
    assert label.timestamp_ms - record.timestamp_ms == 7 * 86_400_000
    assert datetime.fromisoformat(fields["event_timestamp"]) == datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)


def test_a_bad_row_is_sent_as_it_is() -> None:
    """The stream decides what is wrong with it; a replay does not."""
    odd = {"person_id": "not an id!", "event_timestamp": "yesterday", "weight_kg": "heavy", "colour": "red", "age_years": [1]}
    record = plan(pd.DataFrame([odd]))[0]
    assert json.loads(record.value) == odd
    assert record.key == b"not an id!"


def test_rows_without_a_level_have_no_label() -> None:
    assert kinds(plan(ROWS.assign(NObeyesdad=None))) == ["record"] * 40
    assert kinds(plan(ROWS.drop(columns="NObeyesdad"))) == ["record"] * 40


def test_messages_go_in_time_order() -> None:
    times = [message.timestamp_ms for message in plan(ROWS, label_delay=timedelta(days=7))]
    assert times == sorted(times)


def test_a_shuffled_replay_sends_the_same_messages_in_another_order() -> None:
    shuffled = plan(ROWS, shuffle=1)
    assert sorted(shuffled) == sorted(plan(ROWS))
    assert shuffled[:40] != [message for message in plan(ROWS) if message.kind == "record"]
    assert kinds(shuffled) == ["record"] * 40 + ["label"] * 40


@settings(deadline=None, max_examples=30)
@given(offset=st.integers(0, 45), limit=st.none() | st.integers(1, 45), shuffle=st.none() | st.integers(0, 9))
def test_a_part_of_a_file_sends_what_the_whole_would_have_sent(offset: int, limit: int | None, shuffle: int | None) -> None:
    bare = ROWS.drop(columns=["person_id", "event_timestamp"])
    change = Shift(weight_scale=1.04, habits=0.3)
    part = plan(bare, offset=offset, limit=limit, shuffle=shuffle, shift=change)
    assert set(part) <= set(plan(bare, shift=change))
    assert len(part) == 2 * len(range(40)[offset : None if limit is None else offset + limit])
    assert part == plan(bare, offset=offset, limit=limit, shuffle=shuffle, shift=change)


def test_records_or_labels_can_be_left_out() -> None:
    assert set(kinds(plan(ROWS, labels=False))) == {"record"}
    assert set(kinds(plan(ROWS, records=False))) == {"label"}


def test_a_shift_changes_records_and_leaves_labels() -> None:
    shifted, plain = (plan(ROWS, shift=shift) for shift in (Shift(weight_scale=1.04), Shift()))
    assert [m for m in shifted if m.kind == "label"] == [m for m in plain if m.kind == "label"]
    assert all(a.value != b.value for a, b in zip(shifted, plain, strict=True) if a.kind == "record")


def test_the_span_is_that_of_the_messages() -> None:
    whole = Plan(ROWS, ReplayOptions("current"), now=NOW)
    assert whole.span == (ROWS["event_timestamp"].min(), ROWS["event_timestamp"].max() + timedelta(days=7))
    assert Plan(ROWS, ReplayOptions("current", offset=99), now=NOW).span == (None, None)


def test_a_row_that_no_message_can_carry_is_named() -> None:
    with pytest.raises(UnreadableFile, match="row 2 of current"):
        plan(pd.DataFrame({"Weight": [70.0, 2**70]}, dtype=object))
