"""Feast's view of the online store: the guarded Redis store, found by our settings, that knows which view the stream writes.

Place in the flow: named in `feature_store.yaml`; used by Feast's CLI, UI, `materialize`, `push` and `get_online_features`. The
stream and the predictor use `online`, which keeps the same layout under the same guard.
"""

import re
from typing import Literal

from feast import FeatureView, RepoConfig
from pydantic import Field, SecretStr

from feature_repo.online import layout
from feature_repo.online.guarded_store import GuardedRedisOnlineStore, GuardedRedisOnlineStoreConfig
from runtime.settings import Settings

_EPOCH = re.compile(r"/epoch=(\d+)/")  # in the path of a history's files, as `history.epoch_folder` makes it


def _configured() -> SecretStr:
    return Settings().redis_url


class PersonRedisOnlineStoreConfig(GuardedRedisOnlineStoreConfig):
    """As the guarded store's; an absent `connection_string` is `HABITUS_REDIS_URL`."""

    type: Literal["feature_repo.online_store.PersonRedisOnlineStore"] = "feature_repo.online_store.PersonRedisOnlineStore"
    connection_string: SecretStr = Field(default_factory=_configured)


class PersonRedisOnlineStore(GuardedRedisOnlineStore):
    """The guarded store of our project.

    Where it removes persons' rows it removes the watermarks first: a worker that finds none fills the store from the history.
    """

    def epoch_of(self, table: FeatureView) -> int | None:
        """Of the view that the stream writes the epoch of its registered source: what Feast materialises from."""
        if table.name != layout.VIEW:
            return None
        found = _EPOCH.search(table.batch_source.path)
        return int(found[1]) if found else 0

    def delete_table(self, config: RepoConfig, table: FeatureView) -> None:
        """As the guarded store's."""
        if table.name == layout.VIEW:
            self._forget_watermarks(config)
        super().delete_table(config, table)

    def delete_entity_values(self, config: RepoConfig, join_keys: list[str]) -> None:
        """As the guarded store's."""
        if list(join_keys) == [layout.JOIN_KEY]:
            self._forget_watermarks(config)
        super().delete_entity_values(config, join_keys)

    def _forget_watermarks(self, config: RepoConfig) -> None:
        client = self._get_client(config.online_store)
        for key in client.scan_iter(match=layout.literally(layout.watermark_prefix(config.project).encode()) + b"*"):
            client.delete(key)
