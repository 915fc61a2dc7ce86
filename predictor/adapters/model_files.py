"""Models from MLflow, loaded from local copies that outlive it.

`<alias>.json` beside the copies names the one that last served well under the alias, so that a restart without MLflow serves it.
"""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow.sklearn
import pandas as pd
from loguru import logger
from mlflow.models import Model
from mlflow.types import DataType, Schema

from feature_repo.reference import ROWS
from predictor.adapters.local_copies import LocalCopies, name_of
from predictor.load_check import check_speed, check_types
from predictor.model import ServedModel, admit
from runtime.clock import Clock
from runtime.errors import ModelRefused
from runtime.registry import REFERENCE_FOLDER, ModelVersion, Registry

COPIES_KEPT = 3  # beside those in use: a rollback or two need no download
SAMPLED_ROWS = 1_000  # of the reference: a third of a second of the registered object's time


class ModelFiles:
    """The registry's versions, each downloaded once below `home`/models. Without `row_limit_ms` no speed is asked for."""

    def __init__(self, registry: Registry, home: Path, clock: Clock, *, row_limit_ms: float | None = None) -> None:
        self._registry = registry
        self._folder = home / "models" / registry.name
        self._copies = LocalCopies(self._folder, registry.download, clock)
        self._clock = clock
        self._row_limit_ms = row_limit_ms

    def current(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias` now; None if none does. Raises `Unavailable`."""
        return self._registry.by_alias(alias)

    def load(self, version: ModelVersion) -> ServedModel:
        """The version, checked and warm. Raises `ModelRefused`; `Unavailable` if it must be fetched and cannot."""
        folder = self._copies.fetch(version)
        try:
            return self._loaded(folder, version.name, version.version)
        except ModelRefused:
            # Another process that tidies, or a hand, may have taken files away meanwhile. So a refusal has a second look.
            return self._loaded(self._copies.fetch(version), version.name, version.version)

    def keep(self, alias: str, version: ModelVersion) -> None:
        """Remember that `version` serves well as `alias`."""
        note = {"name": version.name, "version": version.version, "folder": name_of(version)}
        draft = self._folder / f".{uuid4().hex}.json"
        try:
            draft.write_text(json.dumps(note))
            draft.replace(self._folder / f"{alias}.json")
        except OSError as error:
            logger.bind(version=version.version).warning("a restart without MLflow will not find this model: {}", error)

    def last_good(self, alias: str) -> ServedModel | None:
        """The model last kept as `alias`, from local files alone; None if there is none that still loads."""
        try:
            note = json.loads((self._folder / f"{alias}.json").read_text())
            folder = self._copies.folder(note["folder"])
            return None if folder is None else self._loaded(folder, note["name"], note["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        except ModelRefused as refusal:
            logger.bind(alias=alias).error("the local copy is refused: {}", refusal)
            return None

    def tidy(self, in_use: Collection[ModelVersion]) -> None:
        """Delete the copies that are neither in use, nor the last good ones, nor among the `COPIES_KEPT` last used others."""
        self._copies.tidy({*map(name_of, in_use), *self._noted()}, COPIES_KEPT)

    def _loaded(self, folder: Path, name: str, version: str) -> ServedModel:
        model = load_folder(folder, name, version, self._clock)
        if self._row_limit_ms is not None:
            check_speed(model, self._row_limit_ms)
        return model

    def _noted(self) -> set[str]:
        names = set()
        for note in self._folder.glob("[!.]*.json"):
            try:
                names.add(str(json.loads(note.read_text())["folder"]))
            except (OSError, ValueError, KeyError, TypeError) as error:
                logger.warning("{} names no local copy: {}", note, error)
        return names


def load_folder(folder: Path, name: str, version: str, clock: Clock) -> ServedModel:
    """The MLflow model in `folder`, checked and warm. Raises `ModelRefused`."""
    described = f"{name} version {version}"
    try:
        signature = Model.load(str(folder)).signature
        classifier: Any = mlflow.sklearn.load_model(str(folder))
    except Exception as error:
        # Unpickling runs the code of the model's libraries, which raise whatever they like; each of them means: not this one.
        raise ModelRefused(f"{described} does not load: {type(error).__name__}: {error}") from error
    if signature is None or signature.inputs is None or not _has_named_columns(signature.inputs):
        raise ModelRefused(f"{described} has no signature of named columns", remedy="log the model with its signature")
    if not (hasattr(classifier, "classes_") and hasattr(classifier, "predict_proba")):
        raise ModelRefused(f"{described} is no fitted classifier that gives probabilities", remedy="train a classifier")
    check_types(described, _types(signature.inputs))
    inputs = signature.inputs.input_names()
    return admit(classifier, inputs, name=name, version=version, loaded_at=clock.now(), sample=_sample(folder, inputs))


def _sample(folder: Path, inputs: Sequence[str]) -> pd.DataFrame | None:
    """Some of the rows that the model's reference keeps, to compare on; None if it keeps none with all of its inputs."""
    path = folder / REFERENCE_FOLDER / ROWS
    try:
        rows = pd.read_parquet(path)
    except (OSError, ValueError):
        return None
    if not set(inputs) <= set(rows.columns):
        return None
    return rows.sample(n=min(SAMPLED_ROWS, len(rows)), random_state=0)


def _has_named_columns(schema: Schema) -> bool:
    return schema.has_input_names() and not schema.is_tensor_spec()


def _types(schema: Schema) -> dict[str, str]:
    """MLflow's type of each column; one of nothing but missing values has none that tells."""
    return {each.name: each.type.name for each in schema.inputs if isinstance(each.type, DataType)}
