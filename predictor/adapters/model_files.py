"""Models from MLflow, through local copies that outlive it.

`<home>/models/<name>/<version>-<digest>/` holds a version's files, complete or not there at all; `<alias>.json` beside it names
the version that last served well under the alias, so that a restart without MLflow serves from it.
"""

import json
import os
import shutil
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow.sklearn
import pandas as pd
from loguru import logger
from mlflow.models import Model

from feature_repo.reference import ROWS
from predictor.model import ServedModel, admit
from runtime.clock import Clock
from runtime.errors import ModelRefused, Unavailable
from runtime.registry import REFERENCE_FOLDER, ModelVersion, Registry

_DIGEST_BYTES = 4
_MANIFEST = "MLmodel"
SAMPLED_ROWS = 1_000  # of the reference: a third of a second of the registered object's time


class ModelFiles:
    """The registry's versions, each downloaded once below `home`/models."""

    def __init__(self, registry: Registry, home: Path, clock: Clock) -> None:
        self._registry = registry
        self._folder = home / "models" / registry.name
        self._clock = clock

    def current(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias` now; None if none does. Raises `Unavailable`."""
        return self._registry.by_alias(alias)

    def load(self, version: ModelVersion) -> ServedModel:
        """The version, checked and warm. Raises `ModelRefused`; `Unavailable` if it must be fetched and cannot."""
        return load_folder(self._local(version), version.name, version.version, self._clock)

    def keep(self, alias: str, version: ModelVersion) -> None:
        """Remember that `version` served well as `alias`."""
        note = {"name": version.name, "version": version.version, "folder": _folder_name(version)}
        draft = self._folder / f".{uuid4().hex}.json"
        try:
            draft.write_text(json.dumps(note))
            draft.replace(self._note(alias))
        except OSError as error:
            logger.bind(version=version.version).warning("a restart without MLflow will not find this model: {}", error)

    def last_good(self, alias: str) -> ServedModel | None:
        """The model last kept as `alias`, from local files alone; None if there is none that still loads."""
        try:
            note = json.loads(self._note(alias).read_text())
            return load_folder(self._folder / note["folder"], note["name"], note["version"], self._clock)
        except (OSError, ValueError, KeyError, ModelRefused):
            return None

    def _local(self, version: ModelVersion) -> Path:
        """The folder of the version's files; fetched beside it first, so that a torn download is never taken for a model."""
        folder = self._folder / _folder_name(version)
        if (folder / _MANIFEST).exists():
            return folder
        draft = self._folder / f".{uuid4().hex}"
        try:
            fetched = self._registry.download(version, draft)
            if not folder.exists():
                os.replace(fetched, folder)  # noqa: PTH105  fails where the folder has come to exist and holds files
        except OSError as error:
            if not (folder / _MANIFEST).exists():
                raise Unavailable("disk", f"{folder} cannot be written ({error})") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return folder

    def _note(self, alias: str) -> Path:
        return self._folder / f"{alias}.json"


def load_folder(folder: Path, name: str, version: str, clock: Clock) -> ServedModel:
    """The MLflow model in `folder`, checked and warm. Raises `ModelRefused`."""
    try:
        signature = Model.load(str(folder)).signature
        classifier: Any = mlflow.sklearn.load_model(str(folder))
    except Exception as error:
        # Unpickling runs the code of the model's libraries, which raise whatever they like; each of them means: not this one.
        raise ModelRefused(f"{name} version {version} does not load: {type(error).__name__}: {error}") from error
    if signature is None or signature.inputs is None:
        raise ModelRefused(f"{name} version {version} has no signature", remedy="log the model with its signature")
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


def _folder_name(version: ModelVersion) -> str:
    """Unique to the registered version: a registry made anew counts from 1 again, with other files."""
    identity = f"{version.source} {version.run_id} {version.created_at.isoformat()}"
    return f"{version.version}-{blake2b(identity.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"
