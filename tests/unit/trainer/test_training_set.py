"""Which labels count, and which rows may be trained on."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.gate import is_gate
from feature_repo.labels import LEVELS
from runtime.errors import NotEnoughData
from trainer.training_set import TrainingSet, latest_labels, require_enough

T0 = datetime(2025, 1, 1, tzinfo=UTC)


def labels(*rows: tuple[str, int, str, int, int]) -> pd.DataFrame:
    """Labels of (person, event minute, level, ingested minute, offset)."""
    return pd.DataFrame(
        [
            {
                "person_id": person,
                "event_timestamp": T0 + timedelta(minutes=event),
                "obesity_level": level,
                "ingested_at": T0 + timedelta(minutes=ingested),
                "source_offset": offset,
            }
            for person, event, level, ingested, offset in rows
        ]
    )


def test_of_several_labels_of_one_record_the_latest_counts() -> None:
    given_labels = labels(("a", 0, "Normal_Weight", 5, 9), ("a", 0, "Obesity_Type_I", 7, 2), ("a", 0, "Obesity_Type_II", 7, 3))
    assert latest_labels(given_labels, T0 + timedelta(hours=1))["obesity_level"].tolist() == ["Obesity_Type_II"]


def test_a_label_that_came_after_the_cut_off_is_not_known() -> None:
    given_labels = labels(("a", 0, "Normal_Weight", 5, 1), ("a", 0, "Obesity_Type_I", 7, 2), ("b", 0, "Normal_Weight", 8, 3))
    known = latest_labels(given_labels, T0 + timedelta(minutes=6))
    assert known[["person_id", "obesity_level"]].to_numpy().tolist() == [["a", "Normal_Weight"]]


def test_labels_of_different_times_are_different_labels() -> None:
    given_labels = labels(("a", 0, "Normal_Weight", 5, 1), ("a", 1, "Normal_Weight", 5, 2))
    assert len(latest_labels(given_labels, T0 + timedelta(hours=1))) == 2


@given(st.permutations(range(12)))
def test_the_order_in_which_labels_are_read_changes_nothing(order: list[int]) -> None:
    given_labels = labels(*((f"p{n % 3}", n % 2, LEVELS[n % 7], n // 4, n) for n in range(12)))
    as_of = T0 + timedelta(minutes=2)
    pd.testing.assert_frame_equal(latest_labels(given_labels.iloc[order], as_of), latest_labels(given_labels, as_of))


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=40), st.integers(0, 40))
def test_training_and_gate_rows_never_share_a_person_and_leave_nobody_out(persons: list[str], minute: int) -> None:
    """Promise: a gate person is never trained on, whatever the cut, and every row since the cut is in one of the two parts."""
    times = [T0 + timedelta(minutes=n) for n in range(len(persons))]
    rows = pd.DataFrame({"person_id": persons, "event_timestamp": pd.to_datetime(times, utc=True)})
    data, since = TrainingSet(rows, T0), T0 + timedelta(minutes=minute)
    training, gate = data.training(since), data.gate(since)
    assert not is_gate(training["person_id"]).any()
    assert is_gate(gate["person_id"]).all()
    assert len(training) + len(gate) == max(0, len(persons) - minute)


def test_too_few_rows_say_how_many_are_needed() -> None:
    rows = pd.DataFrame({"obesity_level": list(LEVELS)})
    with pytest.raises(NotEnoughData, match="7 labelled rows outside the gate, training needs 8") as caught:
        require_enough(rows, least=8, folds=1)
    assert "replay" in caught.value.remedy


def test_a_missing_level_is_named() -> None:
    rows = pd.DataFrame({"person_id": [f"p{n}" for n in range(12)], "obesity_level": [*LEVELS[1:], *LEVELS[1:]]})
    with pytest.raises(NotEnoughData, match=r"there are Insufficient_Weight: 0$"):
        require_enough(rows, least=1, folds=2)


def test_a_level_of_one_person_alone_is_not_enough_for_two_folds() -> None:
    """Promise: what stays in one fold counts once."""
    persons = ["a", "a", *(f"p{n}" for n in range(12))]
    rows = pd.DataFrame({"person_id": persons, "obesity_level": [LEVELS[0], LEVELS[0], *LEVELS[1:], *LEVELS[1:]]})
    with pytest.raises(NotEnoughData, match=r"every level needs 2 persons, one a fold; there are Insufficient_Weight: 1$"):
        require_enough(rows, least=1, folds=2)
