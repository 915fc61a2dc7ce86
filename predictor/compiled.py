"""The compiled form of a registered pipeline, and the comparison that it passes before it serves.

Categories become codes and the booster's trees machine code; pandas and scikit-learn are not asked. What cannot be compiled,
or answers otherwise than the registered object, is served through that object.

Place in the flow: `model.admit` tries it for each model that is loaded; `trees` evaluates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from lightgbm import LGBMClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

from feature_repo.features import BY_NAME
from feature_repo.model_input import as_model_input
from predictor.trees.booster import CompiledBooster, compile_booster
from predictor.trees.flatten import CATEGORIES
from predictor.trees.model_text import UnsupportedBooster

TOLERANCE = 1e-12
_PROBES = 256
_SEED = 20
_NO_CATEGORY = "no such category"
# What no threshold tells of: missing, beyond all thresholds, both zeros, and a number that LightGBM takes for zero.
_ODD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36)

Floats = npt.NDArray[np.float64]
Codes = dict[str, dict[Any, float]]


class NotCompiled(Exception):
    """Why the compiled form does not serve."""


@dataclass(frozen=True)
class CompiledPipeline:
    """`sources` are the inputs in the order of the booster's; `codes` the numbers of the categories, by place among them."""

    sources: tuple[str, ...]
    codes: Mapping[int, Mapping[Any, float]]
    booster: CompiledBooster

    def predict(self, rows: Sequence[Mapping[str, Any]]) -> Floats:
        """Probabilities of n rows of features, by name: n x classes, in the order of the classifier's."""
        matrix = np.array([self._numbers(row) for row in rows], dtype=np.float64)  # None becomes NaN
        return self.booster.predict(matrix.reshape(len(rows), len(self.sources)))

    def _numbers(self, row: Mapping[str, Any]) -> list[Any]:
        values = [row[name] for name in self.sources]
        for place, codes in self.codes.items():
            values[place] = codes.get(values[place], np.nan)
        return values


def compile_checked(classifier: Any, inputs: Sequence[str], sample: pd.DataFrame | None) -> CompiledPipeline:
    """The compiled form of `classifier`, seen to answer within TOLERANCE as it does, on `sample` and on probes of its thresholds.

    Raises `NotCompiled` saying why there is none.
    """
    compiled = compile_pipeline(classifier, inputs)
    frames = [_probes(compiled, inputs)]
    if sample is not None and len(sample):
        frames.append(as_model_input(sample, inputs))
    for frame in frames:
        expected = np.asarray(classifier.predict_proba(frame), dtype=np.float64)
        found = compiled.predict(cast("list[dict[str, Any]]", frame.to_dict("records")))
        difference = float(np.abs(found - expected).max()) if found.shape == expected.shape else np.inf
        if not difference <= TOLERANCE:
            raise NotCompiled(f"the compiled form differs by {difference:.1e} from the registered model")
    return compiled


def compile_pipeline(classifier: Any, inputs: Sequence[str]) -> CompiledPipeline:
    """The compiled form, not compared yet. Raises `NotCompiled` for another pipeline than ordinal codes and LightGBM."""
    steps = [step for _, step in classifier.steps] if isinstance(classifier, Pipeline) else [classifier]
    model = steps[-1]
    if not isinstance(model, LGBMClassifier):
        raise NotCompiled(f"a {type(model).__name__} is not compiled")
    sources, codes = _plan(steps[:-1], inputs)
    try:
        booster = compile_booster(model.booster_.model_to_string())
    except UnsupportedBooster as error:
        raise NotCompiled(str(error)) from error
    if booster.features != len(sources):
        raise NotCompiled(f"the booster reads {booster.features} columns, the pipeline makes {len(sources)}")
    return CompiledPipeline(tuple(sources), {sources.index(name): known for name, known in codes.items()}, booster)


def _plan(steps: Sequence[Any], inputs: Sequence[str]) -> tuple[list[str], Codes]:
    """Which input each column of the booster comes from, and the codes of those that are categories."""
    if not steps:
        return list(inputs), {}
    [columns, *more] = steps
    if more or not hasattr(columns, "transformers_"):
        raise NotCompiled(f"a step {type((more or steps)[0]).__name__} is not compiled")
    sources: list[str] = []
    codes: Codes = {}
    for _, transformer, chosen in columns.transformers_:
        names = [each if isinstance(each, str) else inputs[each] for each in chosen]
        codes |= _codes(transformer, names)
        sources += names
    return sources, codes


def _codes(transformer: Any, names: Sequence[str]) -> Codes:
    if not names or transformer == "passthrough":
        return {}
    if isinstance(transformer, FunctionTransformer) and transformer.func is None:
        return {}
    if not isinstance(transformer, OrdinalEncoder):
        raise NotCompiled(f"a {type(transformer).__name__} is not compiled")
    if not (_is_nan(transformer.unknown_value) and _is_nan(transformer.encoded_missing_value)):
        raise NotCompiled("an encoder that gives unknown or missing categories numbers is not compiled")
    known = zip(names, transformer.categories_, strict=True)
    return {name: {category: float(code) for code, category in enumerate(categories)} for name, categories in known}


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and np.isnan(value)


def _probes(compiled: CompiledPipeline, inputs: Sequence[str]) -> pd.DataFrame:
    """Rows, of each input, of its thresholds, the numbers next to them, and what is odd; drawn alike each time."""
    generator = np.random.default_rng(_SEED)
    return pd.DataFrame({name: _draw(compiled, name, generator) for name in inputs})


def _draw(compiled: CompiledPipeline, name: str, generator: np.random.Generator) -> npt.NDArray[Any]:
    if name not in compiled.sources:
        return np.full(_PROBES, None if BY_NAME[name].dtype == "category" else np.nan)
    if codes := compiled.codes.get(compiled.sources.index(name)):
        categories = np.array([*codes, _NO_CATEGORY, None], dtype=object)
        return np.asarray(generator.choice(categories, _PROBES))
    exact = _thresholds(compiled.booster, compiled.sources.index(name))
    values = np.concatenate([exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf), _ODD])
    return np.asarray(generator.choice(values, _PROBES))


def _thresholds(booster: CompiledBooster, feature: int) -> Floats:
    trees = booster.trees
    mine = [column for column in np.flatnonzero(trees.feature == feature) if trees.kind[column] != CATEGORIES]
    return np.concatenate([np.empty(0), *(trees.thresholds[trees.start[column] : trees.start[column + 1]] for column in mine)])
