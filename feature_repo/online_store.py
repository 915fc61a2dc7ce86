"""Feast's view of the online store: its own Redis store, whose address comes from our settings.

Place in the flow: named in `feature_store.yaml`; used by Feast's CLI, UI and `get_online_features`. The stream and
the predictor use `online`, which keeps the same layout.
"""

from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from pydantic import Field, StrictStr

from runtime.settings import Settings


def connection_string(url: str) -> str:
    """A Redis URL in Feast's form: `host:port,db=0,password=...,ssl=true`.

    >>> connection_string("rediss://:secret@redis.example:6380/1?ssl_ca_certs=ca.pem")
    'redis.example:6380,db=1,password=secret,ssl=true,ssl_ca_certs=ca.pem'
    """
    parts = urlsplit(url)
    options = {
        "db": parts.path.strip("/") or "0",
        "username": unquote(parts.username or ""),
        "password": unquote(parts.password or ""),
        "ssl": "true" if parts.scheme == "rediss" else None,
        **{name: values[-1] for name, values in parse_qs(parts.query).items()},
    }
    given = [f"{name}={value}" for name, value in options.items() if value]
    return ",".join([f"{parts.hostname or 'localhost'}:{parts.port or 6379}", *given])


def _configured() -> str:
    return connection_string(Settings().redis_url.get_secret_value())


class PersonRedisOnlineStoreConfig(RedisOnlineStoreConfig):  # type: ignore[misc]  # Feast has no types
    """As Feast's; an absent `connection_string` is that of `HABITUS_REDIS_URL`."""

    type: Literal["feature_repo.online_store.PersonRedisOnlineStore"] = "feature_repo.online_store.PersonRedisOnlineStore"
    connection_string: StrictStr = Field(default_factory=_configured)


class PersonRedisOnlineStore(RedisOnlineStore):  # type: ignore[misc]  # Feast has no types
    """Feast's Redis store, found by our settings."""
