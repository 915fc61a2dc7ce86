"""Opens the Feast store of our settings, and registers the definitions.

Place in the flow: `habitus up` and the stream apply the definitions; the trainer joins training sets through the store.
"""

from pathlib import Path
from typing import Any

import yaml
from feast import FeatureStore, RepoConfig

from feature_repo.views import define
from runtime.settings import Settings

REPOSITORY = Path(__file__).resolve().parent


def open_store(settings: Settings) -> FeatureStore:
    """The Feast store as `feature_store.yaml` describes it, at the addresses of `settings`."""
    described: dict[str, Any] = yaml.safe_load((REPOSITORY / "feature_store.yaml").read_text())
    described["project"] = settings.project
    described["registry"]["path"] = settings.registry_url
    described["online_store"]["connection_string"] = settings.redis_url
    if settings.registry_url.startswith("sqlite:///"):
        Path(settings.registry_url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    return FeatureStore(config=RepoConfig(**described, repo_path=REPOSITORY))


def apply_definitions(settings: Settings) -> None:
    """Register entity, view and feature service; idempotent."""
    store = open_store(settings)
    store.apply(define(settings).objects())
    store.refresh_registry()
