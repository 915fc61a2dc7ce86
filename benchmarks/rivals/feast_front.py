"""Feast's feature server and a model: a request asks the server (`/get-online-features`), then calls `Booster.predict`.

So it is built where features are to come from Feast: a second process and a second hop.
"""

import argparse
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import uvloop

from benchmarks.rivals.front import Front, Model, Stored, serve
from feature_repo.online.layout import JOIN_KEY, VIEW

_CONNECTIONS = 64
_PRESENT = "PRESENT"


class ServedFeatures:
    """Features of persons, asked of Feast's feature server at `address`."""

    def __init__(self, session: aiohttp.ClientSession, address: str, features: Sequence[str]) -> None:
        self._session = session
        self._url = f"http://{address}/get-online-features"
        self._names = [f"{VIEW}:{name}" for name in features]
        self._features = features

    async def read(self, person_ids: Sequence[str]) -> list[Stored | None]:
        """What is stored of each person; one request."""
        asked = orjson.dumps({"features": self._names, "entities": {JOIN_KEY: list(person_ids)}})
        async with self._session.post(self._url, data=asked, headers={"content-type": "application/json"}) as response:
            response.raise_for_status()
            found = orjson.loads(await response.read())
        columns = dict(zip(found["metadata"]["feature_names"], found["results"], strict=True))
        return [self._row(columns, number) for number in range(len(person_ids))]

    def _row(self, columns: dict[str, Any], number: int) -> Stored | None:
        chosen = [columns[name] for name in self._features]
        if all(column["statuses"][number] != _PRESENT for column in chosen):
            return None
        seen_at = datetime.fromisoformat(chosen[0]["event_timestamps"][number])
        return Stored([column["values"][number] for column in chosen], seen_at)


async def listen(address: str, features: str, model: Model) -> None:
    """Serve until a signal asks to stop."""
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    async with aiohttp.ClientSession(connector=connector) as session:
        await serve(address, Front(ServedFeatures(session, features, model.features), model))


def main() -> None:
    """`python -m benchmarks.rivals.feast_front --address HOST:PORT --features HOST:PORT --model FOLDER`."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--address", "--features"):
        parser.add_argument(name, required=True)
    parser.add_argument("--model", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(listen(given.address, given.features, Model(given.model)))


if __name__ == "__main__":
    main()
