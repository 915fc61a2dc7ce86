"""Which models may serve."""

from typing import Any

import numpy as np
import pytest

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from runtime.errors import ModelRefused


def test_columns_are_put_in_the_order_of_the_levels(make_classifier: Any, make_model: Any):
    """Promise: a classifier that sorts its classes otherwise gives the same answer by level."""
    rows = [{name: 70.0 if name == "weight_kg" else None for name in FEATURE_NAMES}]
    straight = make_model(make_classifier()).score(rows)
    turned = make_model(make_classifier(classes=sorted(LEVELS))).score(rows)
    assert np.array_equal(straight, turned)
    assert straight.shape == (1, len(LEVELS))


def test_a_model_is_warm_when_it_is_admitted(classifier: Any, make_model: Any):
    make_model(classifier)
    assert classifier.calls == [2]


@pytest.mark.parametrize("inputs", [(), ("weight_kg", "shoe_size")])
def test_inputs_must_be_features(classifier: Any, make_model: Any, inputs: Any):
    with pytest.raises(ModelRefused):
        make_model(classifier, inputs=inputs)


@pytest.mark.parametrize("classes", [LEVELS[:6], (*LEVELS[:6], "Other"), (*LEVELS, "Other"), (0, 1, 2, 3, 4, 5, 6)])
def test_classes_must_be_the_seven_levels(make_classifier: Any, make_model: Any, classes: Any):
    with pytest.raises(ModelRefused):
        make_model(make_classifier(classes=classes))


class Broken:
    """A classifier whose answer is given."""

    classes_ = LEVELS

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def predict_proba(self, frame: Any):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.tile(self.answer, (len(frame), 1))


@pytest.mark.parametrize(
    "answer",
    [
        ValueError("input contains NaN"),
        AttributeError("made by another release"),
        np.full(7, np.nan),
        np.full(7, 0.5),
        np.array([1.5, -0.5, 0, 0, 0, 0, 0]),
        np.array([np.inf, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_a_model_must_answer_probabilities(make_model: Any, answer: Any):
    with pytest.raises(ModelRefused):
        make_model(Broken(answer))
