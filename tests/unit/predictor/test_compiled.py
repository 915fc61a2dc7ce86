"""A pipeline is compiled, compared with what is registered, and served in its place only if both answer alike."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from lightgbm import LGBMClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MaxAbsScaler, OrdinalEncoder

from feature_repo.labels import LEVELS
from feature_repo.model_input import as_model_input
from feature_repo.person import CATEGORIES
from predictor.compiled import TOLERANCE, CompiledPipeline, NotCompiled, compile_checked

INPUTS = ("transport", "weight_kg", "smokes", "snacking_frequency", "records_seen")
ROWS = 300
NAN = float("nan")


def rows() -> pd.DataFrame:
    generator = np.random.default_rng(4)
    frame = pd.DataFrame(
        {
            "transport": generator.choice([*CATEGORIES["transport"], None], ROWS),
            "weight_kg": generator.uniform(40, 150, ROWS).round(1),
            "smokes": generator.choice([True, False, None], ROWS),
            "snacking_frequency": generator.choice([*CATEGORIES["snacking_frequency"], None], ROWS),
            "records_seen": generator.integers(1, 9, ROWS),
        }
    )
    return as_model_input(frame, INPUTS)


def levels(frame: pd.DataFrame) -> npt.NDArray[Any]:
    return np.array(LEVELS)[(frame["weight_kg"] // 16 % len(LEVELS)).astype(int)]


def encoder(**options: Any) -> ColumnTransformer:
    names = ["transport", "snacking_frequency"]
    known = [list(CATEGORIES[name]) for name in names]
    given = {"handle_unknown": "use_encoded_value", "unknown_value": NAN, "encoded_missing_value": NAN} | options
    return ColumnTransformer([("categories", OrdinalEncoder(categories=known, **given), names)], remainder="passthrough")


def booster(kind: type[LGBMClassifier] = LGBMClassifier) -> LGBMClassifier:
    return kind(n_estimators=12, num_leaves=8, verbosity=-1, n_jobs=1, min_child_samples=3)


def fitted(*steps: Any) -> Pipeline:
    frame = rows()
    return make_pipeline(*steps).fit(frame, levels(frame))


class Doubtful(LGBMClassifier):
    """Answers otherwise than its booster."""

    def predict_proba(self, *arguments: Any, **options: Any) -> Any:
        found = super().predict_proba(*arguments, **options)
        return found[:, ::-1]


def as_stored(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """As the online store gives them: None where a value is missing, flags as flags."""
    rows = [{name: None if pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")]
    return [row | {"smokes": None if row["smokes"] is None else bool(row["smokes"])} for row in rows]


def test_it_answers_as_the_registered_pipeline_for_values_as_they_are_stored() -> None:
    pipeline, frame = fitted(encoder(), booster()), rows()
    compiled = compile_checked(pipeline, INPUTS, frame)
    assert np.abs(compiled.predict(as_stored(frame)) - pipeline.predict_proba(frame)).max() <= TOLERANCE


def test_an_unknown_category_is_as_a_missing_one() -> None:
    compiled = compile_checked(fitted(encoder(), booster()), INPUTS, None)
    row = dict(zip(INPUTS, ["Rocket", 80.0, None, "Often", 2], strict=True))
    missing = row | {"transport": None, "snacking_frequency": None}
    assert (compiled.predict([row]) == compiled.predict([missing])).all()


def test_a_model_without_a_pipeline_of_numbers_alone_is_compiled() -> None:
    names = ("weight_kg", "records_seen")
    frame = rows()[list(names)]
    model = booster().fit(frame, levels(frame))
    assert isinstance(compile_checked(model, names, frame), CompiledPipeline)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ((encoder(), RandomForestClassifier(3)), "a RandomForestClassifier is not compiled"),
        ((encoder(), MaxAbsScaler(), booster()), "a step MaxAbsScaler is not compiled"),
        ((encoder(unknown_value=-1), booster()), "unknown or missing categories"),
        ((encoder(encoded_missing_value=9.0), booster()), "unknown or missing categories"),
        ((encoder(), booster(Doubtful)), "differs by"),
    ],
)
def test_what_cannot_be_compiled_or_answers_otherwise_says_why(steps: tuple[Any, ...], why: str) -> None:
    with pytest.raises(NotCompiled, match=why):
        compile_checked(fitted(*steps), INPUTS, rows())
