"""A Redis of one test, which may be killed, set back, made small or made a replica."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis

from habitus.stack.configuration import launcher
from habitus.stack.ports import LOCALHOST
from habitus.stack.redis import find_redis, pings
from tests.faults.ports import free_port
from tests.scene import wait_until

_ANSWERS_WITHIN_S = 10.0
_ENDS_WITHIN_S = 5.0
_SNAPSHOT = "dump.rdb"


class RedisServer:
    """A Redis on a port of its own that writes to disk only when it is told to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.port = free_port()
        self.client = Redis(host=LOCALHOST, port=self.port)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"redis://{LOCALHOST}:{self.port}/0"

    def start(self) -> None:
        """Start on the snapshot that lies there, if any; returns when it answers. It ends with who started it."""
        options = {"port": str(self.port), "bind": LOCALHOST, "dir": str(self._folder), "save": "", "repl-diskless-sync": "no"}
        argv = [str(find_redis()), *(word for name, value in options.items() for word in (f"--{name}", value))]
        order = self._folder / "order.json"
        order.write_text(json.dumps({"argv": argv, "env": {}, "tied": True}))
        with (self._folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(launcher(str(order)), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: pings(self.port), _ANSWERS_WITHIN_S, "Redis answers")

    def kill(self) -> None:
        """End it with SIGKILL: what is in no snapshot is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=_ENDS_WITHIN_S)
        self.client.close()

    def snapshot(self) -> bytes:
        """All its data as of now."""
        self.client.save()
        return (self._folder / _SNAPSHOT).read_bytes()

    def has_followed(self, primary: "RedisServer") -> bool:
        """Whether it, a replica, holds all that `primary` has been told."""
        own, others = self.client.info("replication"), primary.client.info("replication")
        return own.get("master_link_status") == "up" and own["slave_repl_offset"] == others["master_repl_offset"]

    def restore(self, snapshot: bytes) -> None:
        """Kill it and start it again with the data of `snapshot`."""
        self.kill()
        (self._folder / _SNAPSHOT).write_bytes(snapshot)
        self.start()


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A Redis that runs; killed in the end."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
