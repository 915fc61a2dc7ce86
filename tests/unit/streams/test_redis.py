"""A server that evicts is refused by whatever way it answers, alone or in a cluster."""

from typing import Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from streams.adapters.redis import refuse_evicting_servers


class Connection:
    """A new connection to a server that answers `answer`."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.done = answer, []

    def on_connect(self) -> None:
        self.done.append("handshake")

    def send_command(self, *words: str) -> None:
        self.done.append(" ".join(words))

    def read_response(self) -> Any:
        return self.answer


@pytest.mark.parametrize("evicting", [[b"maxmemory-policy", b"allkeys-lru"], {b"maxmemory-policy": b"volatile-ttl"}])
def test_a_new_connection_asks_after_its_handshake(evicting: Any) -> None:
    client = refuse_evicting_servers(Redis())
    connected = client.connection_pool.connection_kwargs["redis_connect_func"]
    good = Connection([b"maxmemory-policy", b"noeviction"])
    connected(good)
    assert good.done == ["handshake", "CONFIG GET maxmemory-policy"]
    with pytest.raises(RedisConnectionError, match="set it to noeviction"):
        connected(Connection(evicting))
