"""One URL, as each kind of client reads it."""

import pytest
from redis import Redis
from redis import asyncio as redis_asyncio

from feature_repo.online.connections import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S, names_a_cluster, open_async_client, open_client


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://here:6379/0?cluster=true", True),
        ("rediss://user:a%26cluster=true@here/0?ssl_ca_certs=ca.pem&cluster=true", True),
        ("redis://:cluster=true@here/0", False),
        ("redis://here/0?cluster=false", False),
        ("unix:///run/redis?db=1", False),
    ],
)
def test_a_cluster_is_named_by_an_option_of_the_url(url: str, told: bool) -> None:
    assert names_a_cluster(url) is told


def test_a_client_gives_up_in_seconds_unless_the_url_says_otherwise() -> None:
    client = open_client("redis://user:a%2Cb@here:7/3?socket_timeout=9")
    assert isinstance(client, Redis)
    asked = client.connection_pool.connection_kwargs
    assert (asked["socket_connect_timeout"], asked["socket_timeout"]) == (CONNECT_TIMEOUT_S, 9)
    assert (asked["host"], asked["port"], asked["db"], asked["username"], asked["password"]) == ("here", 7, 3, "user", "a,b")


def test_a_clusters_client_for_asyncio_is_made_without_our_option() -> None:
    client = open_async_client("rediss://user:1e3@here:7/0?ssl_ca_certs=ca.pem&cluster=true")
    assert isinstance(client, redis_asyncio.RedisCluster)
    assert client.connection_kwargs["password"] == "1e3"
    assert client.connection_kwargs["ssl_ca_certs"] == "ca.pem"
    assert client.connection_kwargs["socket_timeout"] == ANSWER_TIMEOUT_S
    assert "cluster" not in client.connection_kwargs
