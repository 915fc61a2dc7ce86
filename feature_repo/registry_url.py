"""Lets `feature_store.yaml` name Feast's registry without an address: `sqlite:///?plugin=habitus` becomes `HABITUS_REGISTRY_URI`.

Feast expands environment variables in its YAML, but has no defaults for them, and the local stack's state is where `HABITUS_HOME`
says. SQLAlchemy's engine plugins are its documented way to rewrite a URL; this one is an entry point in `pyproject.toml`.
"""

from pathlib import Path
from typing import Any

from sqlalchemy.engine import URL, CreateEnginePlugin, make_url

from runtime.settings import Settings


class RegistryUrlPlugin(CreateEnginePlugin):
    """Puts the registry's URL from our settings in place of the one that named the plugin."""

    def __init__(self, url: URL, kwargs: dict[str, Any]) -> None:
        super().__init__(url, kwargs)
        self._registry = make_url(Settings().registry_url)

    def update_url(self, url: URL) -> URL:  # noqa: ARG002  SQLAlchemy's signature
        """The registry's URL; makes the folder of an SQLite file."""
        if self._registry.database and self._registry.get_backend_name() == "sqlite":
            Path(self._registry.database).parent.mkdir(parents=True, exist_ok=True)
        return self._registry
