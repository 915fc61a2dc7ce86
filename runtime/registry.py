"""The model registry (MLflow) as every service sees it: which version holds which alias, and its files.

Place in the flow: the trainer registers and moves aliases, the predictor loads, the monitor reads `reference/`.
Only `trainer/promote.py` may call `set_alias` and `remove_alias`.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from runtime.errors import Unavailable
from runtime.settings import Settings

# A tracking server that is gone must be noticed in seconds, not in MLflow's default of minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
os.environ.setdefault("DO_NOT_TRACK", "true")
# What MLflow says by itself belongs to no log of ours: progress bars, links to runs, waiting for versions.
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")

from mlflow import MlflowClient, artifacts, set_registry_uri, set_tracking_uri
from mlflow.entities.model_registry import ModelVersion as MlflowModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, RESOURCE_DOES_NOT_EXIST, ErrorCode

MODEL_NAME = "obesity-level"
REFERENCE_FOLDER = "reference"
_ABSENT = {ErrorCode.Name(RESOURCE_DOES_NOT_EXIST), ErrorCode.Name(INVALID_PARAMETER_VALUE)}


class Alias(StrEnum):
    """The roles that a model version can hold."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    PREVIOUS = "previous"


@dataclass(frozen=True)
class ModelVersion:
    """One registered version; `source` is where its files are, `tags` hold its scores and decision record."""

    name: str
    version: str
    run_id: str
    source: str
    created_at: datetime
    aliases: tuple[str, ...]
    tags: dict[str, str]

    @property
    def uri(self) -> str:
        """The URI that MLflow loads."""
        return f"models:/{self.name}/{self.version}"


class Registry:
    """A view of the registry of `settings.mlflow_uri`. Every call raises `Unavailable` if the server does not answer."""

    def __init__(self, settings: Settings, name: str = MODEL_NAME) -> None:
        self.name = name
        self._uri = settings.mlflow_uri
        self._client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)

    def by_alias(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias`; None if none does."""
        try:
            return _version(self._client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise self._unavailable(error) from error

    def by_version(self, version: str) -> ModelVersion | None:
        """The version numbered `version`; None if there is none."""
        try:
            return _version(self._client.get_model_version(self.name, version))
        except MlflowException as error:
            if error.error_code in _ABSENT:
                return None
            raise self._unavailable(error) from error

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first, each with its aliases."""
        try:
            found = self._client.search_model_versions(f"name = '{self.name}'")
            # A search leaves the aliases out.
            complete = [_version(self._client.get_model_version(self.name, each.version)) for each in found]
        except MlflowException as error:
            raise self._unavailable(error) from error
        return sorted(complete, key=lambda each: int(each.version), reverse=True)

    def download(self, version: ModelVersion, folder: Path) -> Path:
        """Copy the version's files below `folder`; returns the folder that holds `MLmodel` and `reference/`."""
        return self.fetch(version.uri, folder)

    def fetch(self, uri: str, folder: Path) -> Path:
        """Copy what any of MLflow's URIs names below `folder`; returns the folder or file that it became."""
        # MLflow resolves `models:/` at its process-wide addresses, whatever addresses a call is given.
        set_tracking_uri(self._uri)
        set_registry_uri(self._uri)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        except (MlflowException, OSError) as error:
            raise self._unavailable(error) from error

    def set_alias(self, alias: str, version: str) -> None:
        """Let `version` hold `alias`, atomically taking it from any other."""
        try:
            self._client.set_registered_model_alias(self.name, alias, version)
        except MlflowException as error:
            raise self._unavailable(error) from error

    def remove_alias(self, alias: str) -> None:
        """Let no version hold `alias`."""
        try:
            self._client.delete_registered_model_alias(self.name, alias)
        except MlflowException as error:
            raise self._unavailable(error) from error

    def set_tag(self, version: str, key: str, value: str) -> None:
        """Tag `version`."""
        try:
            self._client.set_model_version_tag(self.name, version, key, value)
        except MlflowException as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> Unavailable:
        return Unavailable("mlflow", f"{self._uri} does not answer as it should ({error})")


def _version(found: MlflowModelVersion) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        version=str(found.version),
        run_id=found.run_id or "",
        source=found.source or "",
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        aliases=tuple(found.aliases or ()),
        tags=dict(found.tags or {}),
    )
