"""Slices partition the population along each of their dimensions."""

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.slices import slices

ANSWERS = ("vegetable_frequency", "main_meals_per_day", "water_intake", "physical_activity_frequency", "technology_use")
ROW = st.fixed_dictionaries(
    {
        "gender": st.sampled_from(["Female", "Male"]),
        "age_years": st.floats(5, 120),
        "records_seen": st.integers(1, 9),
        **dict.fromkeys(ANSWERS, st.one_of(st.just(np.nan), st.sampled_from([1.0, 1.5, 2.0]))),
    }
)


@given(st.lists(ROW, min_size=1, max_size=20))
def test_every_row_is_in_one_slice_of_each_dimension(rows: list[dict[str, Any]]) -> None:
    members: dict[str, np.ndarray] = {}
    for name, chosen in slices(pd.DataFrame(rows)):
        dimension = name.split("=")[0]
        members[dimension] = members.get(dimension, np.zeros(len(rows), dtype=int)) + chosen
    assert set(members) == {"gender", "age", "whole_number_answers", "records_seen"}
    assert all((count == 1).all() for count in members.values())


def test_one_answer_between_whole_numbers_is_enough_and_a_missing_one_is_not() -> None:
    whole = {"gender": "Male", "age_years": 30.0, "records_seen": 1, **dict.fromkeys(ANSWERS, 2.0)}
    frame = pd.DataFrame([whole, whole | {"water_intake": np.nan}, whole | {"water_intake": 2.5}, whole | {"age_years": 30.5}])
    found = dict(slices(frame))
    assert found["whole_number_answers=yes"].tolist() == [True, True, False, False]
