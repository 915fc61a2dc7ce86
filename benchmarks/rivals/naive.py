"""The naive stack: grpc.aio on uvloop, HMGET by redis.asyncio, `Booster.predict`. One process, no log, no metrics.

Its pool waits for a connection when all are taken; without that, redis-py raises as soon as requests come side by side.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import uvloop
from redis.asyncio import BlockingConnectionPool, Redis

from benchmarks.rivals.front import Front, Model, Stored, serve
from feature_repo.online import layout

_CONNECTIONS = 64


class RedisFeatures:
    """Features of persons of a Feast project, read from their hashes."""

    def __init__(self, client: Redis, project: str, features: Sequence[str]) -> None:
        self._client = client
        self._project = project
        self._fields = [layout.TIMESTAMP_FIELD, *(layout.FIELDS[name] for name in features)]

    async def read(self, person_ids: Sequence[str]) -> list[Stored | None]:
        """What is stored of each person; one round trip."""
        if len(person_ids) == 1:
            return [_decoded(await self._client.hmget(self._key(person_ids[0]), self._fields))]  # type: ignore[misc, arg-type]
        pipe = self._client.pipeline(transaction=False)
        for person_id in person_ids:
            pipe.hmget(self._key(person_id), self._fields)  # type: ignore[arg-type]
        return [_decoded(values) for values in await pipe.execute()]

    def _key(self, person_id: str) -> bytes:
        return layout.entity_key(person_id, self._project)


def _decoded(found: Sequence[bytes | None]) -> Stored | None:
    stamp, *values = found
    return None if stamp is None else Stored([*map(layout.decode_value, values)], layout.decode_timestamp(stamp))


async def listen(address: str, redis_url: str, project: str, model: Model) -> None:
    """Serve until a signal asks to stop."""
    client = Redis.from_pool(BlockingConnectionPool.from_url(redis_url, max_connections=_CONNECTIONS))
    await serve(address, Front(RedisFeatures(client, project, model.features), model))
    await client.aclose()


def main() -> None:
    """`python -m benchmarks.rivals.naive --address HOST:PORT --redis URL --project NAME --model FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--address", "--redis", "--project"):
        parser.add_argument(name, required=True)
    parser.add_argument("--model", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(listen(given.address, given.redis, given.project, Model(given.model)))


if __name__ == "__main__":
    main()
