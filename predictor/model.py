"""A model that may serve: its inputs, its classes in our order, and the check that it passes before it serves.

Place in the flow: an adapter loads a classifier and its signature, `admit` checks and warms it, `handlers` scores with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
from loguru import logger

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from feature_repo.materialise import inline_row
from feature_repo.model_input import as_model_input
from feature_repo.person import parse_record, resolve_time
from predictor.compiled import CompiledPipeline, NotCompiled, compile_checked
from runtime.errors import ModelRefused

_SUM_TOLERANCE = 1e-6  # seven float64 probabilities, normalised, sum to one within 1e-15; float32 ones within 1e-6
_REMEDY = "train a model on the features of this release"
# A full record and one with nothing that may be left out: the missing values must not surprise the model later.
_WARM_UP: tuple[Mapping[str, object], ...] = (
    {
        "person_id": "warm-up",
        "gender": "Female",
        "age_years": 30,
        "height_m": 1.7,
        "weight_kg": 70,
        "family_history_overweight": True,
        "high_caloric_food": True,
        "vegetable_frequency": 2,
        "main_meals_per_day": 3,
        "snacking_frequency": "Sometimes",
        "smokes": False,
        "water_intake": 2,
        "monitors_calories": False,
        "physical_activity_frequency": 1,
        "technology_use": 1,
        "alcohol_frequency": "Sometimes",
        "transport": "Walking",
    },
    {"person_id": "warm-up", "gender": "Male", "age_years": 30, "height_m": 1.7, "weight_kg": 70},
)


class Classifier(Protocol):
    """What we need of a scikit-learn classifier."""

    @property
    def classes_(self) -> Sequence[str]:
        """The level of each column of probabilities."""
        ...

    def predict_proba(self, frame: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Probabilities of n rows: n x classes."""
        ...


@dataclass(frozen=True)
class ServedModel:
    """An admitted model. `order` are the classifier's columns in the order of `LEVELS`.

    `compiled` answers if there is one; `evaluation_note` says why not if there is none.
    """

    name: str
    version: str
    inputs: tuple[str, ...]
    loaded_at: datetime
    classifier: Classifier
    order: npt.NDArray[np.int64]
    compiled: CompiledPipeline | None = None
    evaluation_note: str = ""

    @property
    def evaluation(self) -> str:
        """Who answers: the `compiled` form, or the `registered` object itself."""
        return "registered" if self.compiled is None else "compiled"

    def score(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float64]:
        """Probabilities of n rows of features, by name: n x 7 in the order of `LEVELS`; for any number of threads."""
        if self.compiled is not None:
            return self.compiled.predict(rows)[:, self.order]
        columns = {name: [row[name] for row in rows] for name in self.inputs}
        found = self.classifier.predict_proba(as_model_input(columns, self.inputs))
        return np.asarray(found, dtype=np.float64)[:, self.order]


def admit(
    classifier: Classifier,
    inputs: Sequence[str],
    *,
    name: str,
    version: str,
    loaded_at: datetime,
    sample: pd.DataFrame | None = None,
) -> ServedModel:
    """Check `classifier`, warm it up, and compile it if it can be; on rows like `sample` both are compared.

    Raises `ModelRefused` if it must not serve: an input that is no feature, classes that are not the seven levels, or an answer
    that is no finite probability.
    """
    described = f"{name} version {version}"
    unknown = [each for each in inputs if each not in FEATURE_NAMES]
    if unknown or not inputs:
        fault = f"reads what is no feature: {', '.join(unknown)}" if unknown else "has a signature without inputs"
        raise ModelRefused(f"{described} {fault}", remedy=_REMEDY)
    classes = [str(each) for each in classifier.classes_]
    if sorted(classes) != sorted(LEVELS):
        raise ModelRefused(f"{described} has the classes {classes}, not the seven levels", remedy=_REMEDY)
    order = np.array([classes.index(level) for level in LEVELS])
    model = ServedModel(name, version, tuple(inputs), loaded_at, classifier, order)
    _warm_up(model, described)  # as registered: what it cannot score is compiled for nobody
    return _compiled(model, sample)


def _compiled(model: ServedModel, sample: pd.DataFrame | None) -> ServedModel:
    try:
        compiled = compile_checked(model.classifier, model.inputs, sample)
    except NotCompiled as why:
        logger.bind(version=model.version).warning("the registered object serves: {}", why)
        return replace(model, evaluation_note=str(why))
    return replace(model, compiled=compiled)


def _warm_up(model: ServedModel, described: str) -> None:
    rows = [inline_row(resolve_time(parse_record(fields).record, model.loaded_at), None) for fields in _WARM_UP]
    try:
        found = model.score(rows)
    except Exception as error:
        # A foreign pipeline fails with whatever its parts raise; each of them means that it must not serve.
        raise ModelRefused(f"{described} cannot score: {type(error).__name__}: {error}", remedy=_REMEDY) from error
    if found.shape != (len(rows), len(LEVELS)) or not are_probabilities(found).all():
        raise ModelRefused(f"{described} answers what are no probabilities that sum to one", remedy=_REMEDY)


def are_probabilities(found: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Which rows of n x 7 are finite, not negative, and sum to one."""
    sums_to_one = np.abs(found.sum(axis=1) - 1.0) <= _SUM_TOLERANCE  # false for what is not finite
    sound: npt.NDArray[np.bool_] = (found >= 0).all(axis=1) & sums_to_one
    return sound
