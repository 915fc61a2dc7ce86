"""Cross-validation: every row is predicted once, by a model that did not see it."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from runtime.errors import NotEnoughData
from trainer.pipeline import Recipe
from trainer.validation import Effort, cross_validate, out_of_fold_frame, stratified

MakeRows = Callable[..., pd.DataFrame]


def test_every_row_is_predicted_once_by_a_model_that_did_not_see_it(make_rows: MakeRows, recipe: Recipe) -> None:
    rows = make_rows(200)
    splits = stratified(rows, 4, seed=1)
    assert all(not set(fitted) & set(scored) for fitted, scored in splits)
    validation = cross_validate(rows, recipe, splits, Effort(4))
    assert sorted(validation.positions) == list(range(200))
    frame = out_of_fold_frame(rows, validation)
    assert frame["person_id"].tolist() == rows["person_id"].tolist()
    np.testing.assert_allclose(frame.filter(like="p_").sum(axis=1), 1.0)


def test_working_side_by_side_changes_nothing(make_rows: MakeRows, recipe: Recipe) -> None:
    rows = make_rows(200)
    splits = stratified(rows, 3, seed=1)
    alone, together = (cross_validate(rows, recipe, splits, Effort(3, workers)) for workers in (1, 3))
    np.testing.assert_array_equal(alone.probabilities, together.probabilities)


def test_progress_is_told_after_each_fold_and_errors_are_those_of_the_folds(make_rows: MakeRows, recipe: Recipe) -> None:
    rows, told = make_rows(150), []
    effort = Effort(3, progress=lambda *step: told.append(step))
    validation = cross_validate(rows, recipe, stratified(rows, 3, seed=1), effort)
    assert told == [("cross-validation", n, 3) for n in (1, 2, 3)]
    found = [each["accuracy"] for each in validation.fold_scores]
    assert validation.mean("accuracy") == np.mean(found)
    assert validation.standard_error("accuracy") == np.std(found, ddof=1) / np.sqrt(3)


def test_no_person_is_on_both_sides_of_a_split(make_rows: MakeRows) -> None:
    rows = make_rows(300)
    several = rows.assign(person_id=[f"p-{number // 3}" for number in range(300)])
    for fitted, scored in stratified(several, 5, seed=1):
        assert not set(several["person_id"].iloc[fitted]) & set(several["person_id"].iloc[scored])


def test_with_one_row_a_person_every_fold_has_the_levels_shares(make_rows: MakeRows) -> None:
    rows = make_rows(500)
    shares = rows["obesity_level"].value_counts()
    for _, scored in stratified(rows, 5, seed=1):
        found = rows["obesity_level"].iloc[scored].value_counts().reindex(shares.index, fill_value=0)
        assert (found - shares / 5).abs().max() <= 2


def test_fewer_persons_than_folds_are_not_enough(make_rows: MakeRows) -> None:
    rows = make_rows(100).assign(person_id="only one")
    with pytest.raises(NotEnoughData, match="5 folds need as many persons with labelled rows, there are 1"):
        stratified(rows, 5, seed=1)
