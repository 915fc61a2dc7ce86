"""A real server on a free port whose parts are fakes, and what clients of it see."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.rpc import status_pb2

from predictor.adapters.grpc_errors import DETAILS_KEY
from predictor.adapters.grpc_guard import Guard, make_guard
from predictor.adapters.grpc_server import GrpcServer, PredictorService
from predictor.handlers import Parts
from predictor.messages import Serving
from predictor.settings import PredictorSettings


class ShelfOfOne:
    """What GetVersion asks."""

    def __init__(self, models: Any) -> None:
        self.champion = Serving(models.by_alias["champion"], "champion")


@dataclass
class HeldReader:
    """A store that holds its answers back until `release`; tells how many wait."""

    inner: Any
    release: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: int = 0
    most: int = 0
    begun: list[str] = field(default_factory=list)

    async def read(self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False) -> Any:
        self.begun += person_ids
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        try:
            await self.release.wait()
            return await self.inner.read(person_ids, features, with_state=with_state)
        finally:
            self.waiting -= 1


@asynccontextmanager
async def running(parts: Parts, guard: Guard | None = None, **settings: Any) -> AsyncIterator[str]:
    """A server; gives its address. Without a `guard` it has the one of its settings."""
    chosen = PredictorSettings(predictor_address="localhost:0", predictor_stop_grace_s=0.2, **settings)
    server = GrpcServer(chosen, PredictorService(parts, ShelfOfOne(parts.models)), guard or make_guard(chosen))
    address = await server.start(chosen.predictor_address)
    try:
        yield address
    finally:
        await server.stop()


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error that `call` ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def detail(error: grpc.aio.AioRpcError, kind: Any) -> Any:
    """The detail of `kind` that came with `error`; None without one."""
    raw = dict(error.trailing_metadata()).get(DETAILS_KEY, b"")
    found = kind()
    return next((found for packed in status_pb2.Status.FromString(raw).details if packed.Unpack(found)), None)


async def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.002)
