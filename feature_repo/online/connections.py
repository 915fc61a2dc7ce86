"""Redis clients from one URL: of a server (`redis://`), over TLS (`rediss://`, `ssl_ca_certs=...`), at a socket (`unix://`).

`cluster=true` in the query names a Redis Cluster by any of its nodes. redis-py reads the URL itself, so user names and passwords
are percent-decoded and stay text, and its representations never show them.

Place in the flow: `online`, the Feast store and the predictor connect through it.
"""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from redis import Redis, RedisCluster
from redis import asyncio as redis_asyncio

CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0

Client = Redis | RedisCluster
AsyncClient = redis_asyncio.Redis | redis_asyncio.RedisCluster

_TIMEOUTS: dict[str, Any] = {"socket_connect_timeout": CONNECT_TIMEOUT_S, "socket_timeout": ANSWER_TIMEOUT_S}
_CLUSTER = ("cluster", "true")


def names_a_cluster(url: str) -> bool:
    """Whether `url` says `cluster=true`."""
    return _CLUSTER in parse_qsl(urlsplit(url).query)


def open_client(url: str, *, cluster: bool = False) -> Client:
    """A client; one of a server connects when first used, one of a cluster at once, to learn its nodes."""
    if cluster or names_a_cluster(url):
        return RedisCluster.from_url(_address(url), **_TIMEOUTS)
    return Redis.from_url(url, **_TIMEOUTS)


def open_async_client(url: str, *, cluster: bool = False) -> AsyncClient:
    """A client for asyncio; connects when first used."""
    if cluster or names_a_cluster(url):
        return redis_asyncio.RedisCluster.from_url(_address(url), **_TIMEOUTS)
    return redis_asyncio.Redis.from_url(url, **_TIMEOUTS)


def _address(url: str) -> str:
    """`url` without the option that is ours."""
    parts = urlsplit(url)
    options = [option for option in parse_qsl(parts.query) if option != _CLUSTER]
    return urlunsplit(parts._replace(query=urlencode(options)))
