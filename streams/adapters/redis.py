"""Redis's identity: each connection is asked, before its first command, whether its server may drop keys.

A failover, a restart and a restored server all need a new connection, so this notices every change of the server before the
first row is written to it, and costs nothing per batch. What it does not notice is a policy changed on a running server.
"""

from typing import Any

from redis import RedisCluster
from redis.exceptions import ConnectionError as RedisConnectionError

from feature_repo.online.connections import Client

SAFE_POLICY = "noeviction"


def refuse_evicting_servers(client: Client) -> Client:
    """`client`, whose new connections fail while the server behind them evicts, as if it did not answer; the error says why."""
    if isinstance(client, RedisCluster):
        client.user_on_connect_func = _require_no_eviction  # called after the cluster's own handshake, with each node
    else:
        client.connection_pool.connection_kwargs["redis_connect_func"] = _connected
    return client


def _connected(connection: Any) -> None:
    """Replaces redis-py's own handshake by the same with our question after it."""
    connection.on_connect()
    _require_no_eviction(connection)


def _require_no_eviction(connection: Any) -> None:
    connection.send_command("CONFIG", "GET", "maxmemory-policy")
    answer = connection.read_response()
    policy = _text(answer[b"maxmemory-policy"] if isinstance(answer, dict) else answer[1])
    if policy != SAFE_POLICY:
        raise RedisConnectionError(f"maxmemory-policy is {policy}; set it to {SAFE_POLICY}, or rows disappear silently")


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
