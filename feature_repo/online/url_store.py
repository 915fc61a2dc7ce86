"""Feast's Redis store, reached by a URL: what the guarded store is built on.

Feast's own form, `host:port,db=0,password=...`, cannot hold a password with a comma, reads one of digits as a number, and its
configuration shows it. A URL is given to redis-py as it is (see `connections`). Feast's form stays for several start nodes of a
cluster and for sentinels.
"""

import asyncio
from typing import Any

from feast.infra.online_stores.redis import RedisClient, RedisOnlineStore, RedisOnlineStoreConfig, RedisType
from pydantic import ConfigDict, SecretStr, model_validator

from feature_repo.online.connections import AsyncClient, Client, open_async_client, open_client


class UrlRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]  # Feast has no types
    """As Feast's, but `connection_string` is a secret, and a URL or in Feast's form."""

    model_config = ConfigDict(hide_input_in_errors=True)

    connection_string: SecretStr = SecretStr("localhost:6379")

    @model_validator(mode="after")
    def _redis_py_alone(self) -> "UrlRedisOnlineStoreConfig":
        if self.client is not RedisClient.redis:
            raise ValueError("this store reads through redis-py alone; leave `client` at `redis`")
        if self.redis_type is RedisType.redis_sentinel and self.is_url:
            raise ValueError("a URL names no sentinels; give `connection_string` in Feast's form, host:port,...")
        return self

    @property
    def is_url(self) -> bool:
        """Whether the address is a URL, and not in Feast's form."""
        return "://" in self.connection_string.get_secret_value()

    @property
    def is_cluster(self) -> bool:
        """Whether the address is that of a cluster."""
        return bool(self.redis_type is RedisType.redis_cluster)

    def in_feasts_form(self) -> RedisOnlineStoreConfig:
        """The configuration as Feast's own code reads it."""
        return self.model_copy(update={"connection_string": self.connection_string.get_secret_value()})


class UrlRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]  # Feast has no types
    """Feast's store with clients made from the URL, as needed, one for threads and one for the running event loop."""

    _client: Client | None = None
    _client_async: AsyncClient | None = None
    _loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
        if self._client_async is not None and self._loop is asyncio.get_running_loop():
            await self._client_async.aclose()
        self._client = self._client_async = None

    def _get_client(self, online_store_config: UrlRedisOnlineStoreConfig) -> Client:
        if self._client is None and online_store_config.is_url:
            url = online_store_config.connection_string.get_secret_value()
            self._client = open_client(url, cluster=online_store_config.is_cluster)
        return self._client or super()._get_client(online_store_config.in_feasts_form())

    async def _get_client_async(self, online_store_config: UrlRedisOnlineStoreConfig) -> AsyncClient:
        """A new client for a new event loop: connections do not outlive theirs."""
        if self._loop is not asyncio.get_running_loop():
            self._loop, self._client_async = asyncio.get_running_loop(), None
        if self._client_async is None and online_store_config.is_url:
            url = online_store_config.connection_string.get_secret_value()
            self._client_async = open_async_client(url, cluster=online_store_config.is_cluster)
        return self._client_async or await super()._get_client_async(online_store_config.in_feasts_form())

    @staticmethod
    def _parse_connection_string(connection_string: str) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """As Feast's, but a name or password is text."""
        nodes, options = RedisOnlineStore._parse_connection_string(connection_string)  # noqa: SLF001  Feast's hook, overridden
        given = dict(part.split("=", 1) for part in connection_string.split(",") if "=" in part)
        return nodes, options | {name: given[name] for name in ("username", "password") if name in given}
