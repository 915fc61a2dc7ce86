"""Features become a model's input in one way, whatever they come as."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.model_input import as_model_input

NAMES = ("gender", "weight_kg", "smokes", "records_seen")
ROW = st.fixed_dictionaries(
    {
        "gender": st.sampled_from(["Female", "Male", None]),
        "weight_kg": st.one_of(st.none(), st.floats(5, 700)),
        "smokes": st.sampled_from([True, False, None]),
        "records_seen": st.one_of(st.none(), st.integers(1, 1000)),
    }
)


def columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in NAMES}


def test_numbers_and_flags_become_floats_and_categories_stay_text() -> None:
    given_rows = [{"gender": "Male", "weight_kg": 81, "smokes": True, "records_seen": 2}, dict.fromkeys(NAMES)]
    frame = as_model_input(columns(given_rows), NAMES)
    assert frame.dtypes.astype(str).to_dict() == {
        "gender": "object",
        "weight_kg": "float64",
        "smokes": "float64",
        "records_seen": "float64",
    }
    assert frame.iloc[0].tolist() == ["Male", 81.0, 1.0, 2.0]
    assert frame["gender"].iloc[1] is None
    assert frame.iloc[1, 1:].isna().all()


@given(st.lists(ROW, min_size=1, max_size=10))
def test_columns_frames_and_nullable_frames_give_the_same(rows: list[dict[str, Any]]) -> None:
    """Promise: what trainer, predictor and monitor hold differently reaches the model alike."""
    plain = as_model_input(columns(rows), NAMES)
    frame = pd.DataFrame(columns(rows), columns=list(NAMES))
    nullable = frame.astype({"gender": "string", "weight_kg": "Float64", "smokes": "boolean", "records_seen": "Int64"})
    pd.testing.assert_frame_equal(as_model_input(frame, NAMES), plain)
    pd.testing.assert_frame_equal(as_model_input(nullable, NAMES), plain)
    pd.testing.assert_frame_equal(as_model_input(plain, NAMES), plain)


def test_the_order_is_the_one_asked_for_and_nothing_else_is_in_it() -> None:
    frame = as_model_input({"weight_kg": [1.0], "gender": ["Male"], "note": ["x"]}, ("gender", "weight_kg"))
    assert list(frame.columns) == ["gender", "weight_kg"]


def test_a_frame_with_another_index_keeps_its_rows_in_order() -> None:
    frame = as_model_input(pd.DataFrame({"weight_kg": [3.0, np.nan]}, index=[7, 3]), ("weight_kg",))
    assert frame.index.tolist() == [0, 1]
    assert frame["weight_kg"].iloc[0] == 3.0


def test_a_feature_that_is_not_there_is_named() -> None:
    with pytest.raises(KeyError, match="weight_kg"):
        as_model_input({"gender": ["Male"]}, ("gender", "weight_kg"))
