"""Scores of a model on labelled rows, computed as the predictor computes: the same validation, features, fold and model call.

Place in the flow: `habitus evaluate` and the demo; needs MLflow, neither Redis nor Kafka nor a running predictor.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.labels import LEVELS
from feature_repo.materialise import Located, materialise
from feature_repo.person import LEVEL_FIELDS, parse_record, resolve_time
from feature_repo.scores import scores
from predictor.adapters.model_files import ModelFiles, load_folder
from predictor.model import ServedModel
from runtime.clock import Clock, SystemClock
from runtime.errors import RecordRejected, UnknownModel, Violation
from runtime.registry import Alias, Registry
from runtime.settings import Settings

_ROW_PERSON = "row-{}"  # a row that names no person is a person of its own


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of n rows. `predictions` has their order: the seven probabilities by level, `predicted`, `actual`."""

    model_version: str
    scores: Mapping[str, float]
    predictions: pd.DataFrame

    def summary(self) -> dict[str, Any]:
        """`model_version, rows, accuracy, macro_f1, weighted_f1, log_loss, ece`."""
        return {"model_version": self.model_version, **self.scores, "rows": len(self.predictions)}


def evaluate(settings: Settings, rows: pd.DataFrame, model: str = Alias.CHAMPION, *, clock: Clock | None = None) -> Evaluation:
    """Score `model` (an alias, a version number, or an MLflow URI) on labelled rows under our names or the published ones.

    Rows of one person are folded in their order; one without a time has the present as its time.
    Raises `RecordRejected` naming the first bad row, `NotEnoughData` for none, `UnknownModel`, `ModelRefused`, `Unavailable`.
    """
    clock = clock or SystemClock()
    return evaluate_model(find_model(settings, model, clock), rows, clock.now())


def evaluate_model(model: ServedModel, rows: pd.DataFrame, now: datetime) -> Evaluation:
    """Score a loaded model on labelled rows; see `evaluate`."""
    located, levels = _labelled(rows, now)
    table, _ = materialise(located, {})
    features = table.select(list(model.inputs)).to_pylist()
    probabilities = model.score(features) if located else np.empty((0, len(LEVELS)))
    return Evaluation(model.version, scores(levels, probabilities), _predictions(levels, probabilities))


def find_model(settings: Settings, model: str, clock: Clock) -> ServedModel:
    """The model that `model` names: an alias, a version number, `models:/obesity-level/3`, or any other URI of MLflow."""
    registry = Registry(settings)
    name = model
    for prefix in (f"models:/{registry.name}/", f"models:/{registry.name}@"):
        name = name.removeprefix(prefix)
    if "/" in name:
        with tempfile.TemporaryDirectory(prefix="habitus-model-") as folder:
            return load_folder(registry.fetch(name, Path(folder)), registry.name, name, clock)
    version = registry.by_version(name) if name.isdecimal() else registry.by_alias(name)
    if version is None:
        raise UnknownModel(name)
    return ModelFiles(registry, settings.home, clock).load(version)


def _labelled(rows: pd.DataFrame, now: datetime) -> tuple[list[Located], list[str]]:
    located: list[Located] = []
    levels: list[str] = []
    for number, fields in enumerate(rows.astype(object).where(rows.notna(), None).to_dict("records")):
        try:
            found, level = _parsed({str(name): value for name, value in fields.items()}, number, now)
        except RecordRejected as error:
            named = tuple(Violation(f"row {number} (from 0), {v.field}", v.description) for v in error.violations)
            raise RecordRejected(error.error_class, named, remedy="correct or remove the row") from error
        located.append(found)
        levels.append(level)
    return located, levels


def _parsed(fields: dict[str, Any], number: int, now: datetime) -> tuple[Located, str]:
    given = fields | {"person_id": fields.get("person_id") or _ROW_PERSON.format(number)}
    parsed = parse_record(given)
    if parsed.level not in LEVELS:
        raise RecordRejected("invalid_label", (Violation(LEVEL_FIELDS[0], f"{parsed.level!r} is no obesity level"),))
    # The row's own time is that of its message: rows of a file were not published, so nothing lies in their future.
    record = resolve_time(parsed.record, parsed.record.event_timestamp or now)
    return Located(record, "", 0, number, now), str(parsed.level)


def _predictions(levels: Sequence[str], probabilities: npt.NDArray[np.float64]) -> pd.DataFrame:
    columns: dict[str, Any] = {level: probabilities[:, position] for position, level in enumerate(LEVELS)}
    predicted = np.array(LEVELS, dtype=object)[probabilities.argmax(axis=1)]
    return pd.DataFrame({**columns, "predicted": predicted, "actual": list(levels)})
