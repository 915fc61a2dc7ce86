"""Redis servers of a test's own: one with options of its choice, or three that make a cluster."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError

from habitus.stack.redis import find_redis
from tests.scene import wait_until

_STARTS_WITHIN_S = 20.0
_SLOTS = 16_384
_BUS = 10_000  # a node talks to the others on its port plus this


@contextmanager
def redis_server(folder: Path, *options: str, **access: str) -> Iterator[Redis]:
    """A client of a server with command-line `options`, which may ask for `access`; the server ends with the block."""
    (port,) = _free_ports(1)
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(find_redis()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder), *options]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        with Redis("127.0.0.1", port, **access) as client:  # type: ignore[arg-type]  # which keywords these are is the caller's affair
            wait_until(lambda: _answers(client), _STARTS_WITHIN_S, f"Redis: {(folder / 'log').read_text()}")
            yield client
    finally:
        process.kill()
        process.wait()


@contextmanager
def redis_cluster(folder: Path) -> Iterator[list[Redis]]:
    """Clients of the three nodes of a cluster, each of which owns a third of the slots."""
    cluster = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with ExitStack() as opened:
        nodes = [opened.enter_context(redis_server(folder / str(number), *cluster)) for number in range(3)]
        for number, node in enumerate(nodes):
            node.execute_command("CLUSTER", "ADDSLOTS", *range(number, _SLOTS, len(nodes)))
            node.execute_command("CLUSTER", "MEET", "127.0.0.1", port_of(nodes[0]))
        wait_until(lambda: all(_knows_all(node, len(nodes)) for node in nodes), _STARTS_WITHIN_S, "the cluster is not whole")
        yield nodes


def port_of(client: Redis) -> int:
    """The port of the client's server."""
    return int(client.connection_pool.connection_kwargs["port"])


def _knows_all(node: Redis, number: int) -> bool:
    lines = set(node.execute_command("CLUSTER", "INFO").decode().split())
    return {"cluster_state:ok", f"cluster_known_nodes:{number}", f"cluster_size:{number}"} <= lines


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def _free_ports(count: int) -> list[int]:
    """Ports that are free, and so is what a cluster's node listens on beside each."""
    found: list[int] = []
    with ExitStack() as opened:
        while len(found) < count:
            port = opened.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            if port + _BUS < 65_536 and not _is_taken(port + _BUS):
                found.append(port)
    return found


def _is_taken(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False
