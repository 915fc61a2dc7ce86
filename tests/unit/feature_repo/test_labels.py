"""Label events: one person, one time, one of the seven levels."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.labels import INVALID_LABEL, LEVELS, PersonLabel, parse_label
from runtime.errors import RecordRejected

VALID = {"person_id": "p1", "event_timestamp": "2026-01-02T03:04:05Z", "obesity_level": "Normal_Weight"}
MESSAGE_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_levels_are_the_seven_in_the_order_of_weight():
    assert LEVELS == (
        "Insufficient_Weight",
        "Normal_Weight",
        "Overweight_Level_I",
        "Overweight_Level_II",
        "Obesity_Type_I",
        "Obesity_Type_II",
        "Obesity_Type_III",
    )


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", ["obesity_level", "NObeyesdad"])
def test_every_level_is_taken_under_either_name(level: str, name: str):
    fields = {"person_id": "p1", "event_timestamp": "2026-01-02T03:04:05Z", name: level, "other": 1}
    assert parse_label(fields, MESSAGE_TIME).obesity_level == level


@pytest.mark.parametrize(
    ("fields", "failed"),
    [
        ({}, {"person_id", "event_timestamp", "obesity_level"}),
        (VALID | {"obesity_level": "normal_weight"}, {"obesity_level"}),
        (VALID | {"obesity_level": None}, {"obesity_level"}),
        (VALID | {"obesity_level": ["Normal_Weight"]}, {"obesity_level"}),
        (VALID | {"obesity_level": {}}, {"obesity_level"}),
        (VALID | {"NObeyesdad": "Normal_Weight"}, {"obesity_level"}),
        (VALID | {"person_id": "a b"}, {"person_id"}),
        (VALID | {"event_timestamp": None}, {"event_timestamp"}),
        (VALID | {"event_timestamp": "2026-01-02"}, {"event_timestamp"}),
    ],
)
def test_other_labels_are_rejected_with_every_field_named(fields: dict[str, Any], failed: set[str]):
    with pytest.raises(RecordRejected) as caught:
        parse_label(fields, MESSAGE_TIME)
    assert caught.value.error_class == INVALID_LABEL
    assert set(caught.value.failed_fields) == failed


@pytest.mark.parametrize("at", ["2026-01-02T03:04:05Z", "2026-01-02T03:09:05Z", "1999-01-02T03:09:05Z"])
def test_a_label_may_be_of_any_time_up_to_five_minutes_after_its_message(at: str):
    assert parse_label(VALID | {"event_timestamp": at}, MESSAGE_TIME).event_timestamp == datetime.fromisoformat(at)


def test_a_label_of_the_future_is_rejected():
    with pytest.raises(RecordRejected, match=r"more than 0:05:00 after the message's time") as caught:
        parse_label(VALID | {"event_timestamp": "2026-01-02T03:09:05.000001Z"}, MESSAGE_TIME)
    assert (caught.value.error_class, tuple(caught.value.failed_fields)) == (INVALID_LABEL, ("event_timestamp",))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from([*VALID, "NObeyesdad", "x"]), ANYTHING))
def test_any_fields_are_a_label_or_a_rejection(fields: dict[str, Any]):
    try:
        assert isinstance(parse_label(fields, MESSAGE_TIME), PersonLabel)
    except RecordRejected as error:
        assert error.failed_fields  # noqa: PT017  the other of two allowed ways
        error.reason.encode("utf-8")
