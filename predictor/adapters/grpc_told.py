"""How each call ended and how long it took, told to whoever listens: refusals, and errors that never reached the core, alike.

Place in the flow: `grpc_guard` puts `told` around all that answers; `metrics` listens.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Any

import grpc

from predictor.adapters.grpc_methods import SERVICE
from protos.habitus.v1 import predictor_pb2 as pb

# Who listens keeps something for each method, so what callers make up must not be one.
OTHER = "other"
_NAMES = {f"/{SERVICE}/{name}": name for name in pb.DESCRIPTOR.services_by_name["Predictor"].methods_by_name}

Behaviour = Callable[[Any, grpc.aio.ServicerContext], Awaitable[Any]]
Hear = Callable[[str, str, float], None]  # method, code, seconds


def hear_nothing(_method: str, _code: str, _seconds: float) -> None:
    """For where nobody listens."""


def told(behaviour: Behaviour, method: str, hear: Hear) -> Behaviour:
    """`behaviour`, of whose every call `hear` hears: the method's name, or OTHER; the code that it ended with; seconds."""
    name = _NAMES.get(method, OTHER)

    async def heard(message: Any, context: grpc.aio.ServicerContext) -> Any:
        began_s = perf_counter()
        code = "OK"
        try:
            return await behaviour(message, context)
        except BaseException as error:
            code = _code_of(error, context)
            raise
        finally:
            hear(name, code, perf_counter() - began_s)

    return heard


def _code_of(error: BaseException, context: grpc.aio.ServicerContext) -> str:
    """A cancelled call ran out of its time, or its caller left; what was not aborted ends as UNKNOWN."""
    if isinstance(error, asyncio.CancelledError):
        remaining_s = context.time_remaining()
        return "DEADLINE_EXCEEDED" if remaining_s is not None and remaining_s <= 0 else "CANCELLED"
    code = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else "UNKNOWN"
