"""A registry that does not answer is said to be unavailable, soon, by every call."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runtime.errors import Unavailable
from runtime.registry import MODEL_NAME, ModelVersion, Registry
from runtime.settings import Settings

VERSION = ModelVersion(MODEL_NAME, "3", "run", "", datetime(2025, 1, 1, tzinfo=UTC), (), {})
CALLS: dict[str, Callable[[Registry, Path], Any]] = {
    "by_alias": lambda registry, _: registry.by_alias("champion"),
    "versions": lambda registry, _: registry.versions(),
    "download": lambda registry, folder: registry.download(VERSION, folder),
    "set_alias": lambda registry, _: registry.set_alias("champion", "3"),
    "remove_alias": lambda registry, _: registry.remove_alias("champion"),
    "set_tag": lambda registry, _: registry.set_tag("3", "decision", "{}"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_registry_that_is_not_there_is_unavailable_within_seconds(
    name: str, settings_for: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    registry, asked = Registry(settings_for(Settings)), time.monotonic()
    with pytest.raises(Unavailable, match="mlflow") as caught:
        CALLS[name](registry, tmp_path)
    assert "habitus status" in caught.value.remedy
    assert time.monotonic() - asked < 15


def test_a_version_knows_the_uri_that_mlflow_loads() -> None:
    assert VERSION.uri == "models:/obesity-level/3"
