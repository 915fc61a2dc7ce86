"""Cross-validation: every row is predicted once, by a model that did not see it."""

from collections.abc import Callable

import numpy as np
import pandas as pd

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
