"""Protection bound to gRPC: a call is refused before anything is done for it, its message not even read where that can be.

token (every service but health) -> a place (so many calls at once) -> the client's rate -> the service

However a call ends, whoever listens hears of it.

Place in the flow: an interceptor of the server; the rules are `predictor.protection`'s, the codes `grpc_errors`'. A place is
looked for when a call's headers are there and taken when its message is: who sends headers and no message holds no place.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any, NoReturn

import grpc

from predictor.adapters.grpc_errors import DETAILS_KEY, status_of
from predictor.adapters.grpc_methods import SERVICE
from predictor.adapters.grpc_told import Behaviour, Hear, hear_nothing, told
from predictor.protection.admission import Admission
from predictor.protection.rates import Rates, client_at
from predictor.protection.settings import ProtectionSettings
from predictor.protection.tokens import Tokens
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.errors import HabitusError, NotAuthenticated, NotPermitted

_HEALTH = "/grpc.health.v1.Health/"
_OURS = f"/{SERVICE}/"
_STREAMING = f"/{SERVICE}/PredictStream"
_BEARER = "bearer "
_CODES = {code.value[0]: code for code in grpc.StatusCode}
# The name of the call's token; gRPC runs the interceptor and the handler of a call in one task, and each call in its own.
_caller: ContextVar[str] = ContextVar("caller", default="")


def make_guard(settings: ProtectionSettings, hear: Hear = hear_nothing) -> "Guard":
    """The guard that the settings ask for; `hear` hears of every call that it let in or refused.

    Raises `InvalidSetting` for a tokens' file that is none.
    """
    return Guard(
        Admission(settings.predictor_concurrency, "calls"),
        Admission(settings.predictor_streams, "streams"),
        Tokens(settings.predictor_tokens_file) if settings.predictor_tokens_file else None,
        Rates(settings.predictor_rate_per_s, settings.predictor_rate_burst) if settings.predictor_rate_per_s else None,
        hear,
    )


async def abort(error: HabitusError, context: grpc.aio.ServicerContext) -> NoReturn:
    """End the call with the status of `error`."""
    status = status_of(error)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(_CODES[status.code], status.message, trailing_metadata=details)
    raise AssertionError("abort raises")


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc is not typed
    """Lets through who may ask, and as many as there are places for."""

    def __init__(
        self,
        calls: Admission,
        streams: Admission,
        tokens: Tokens | None = None,
        rates: Rates | None = None,
        hear: Hear = hear_nothing,
    ) -> None:
        self._calls = calls
        self._streams = streams
        self._tokens = tokens
        self._rates = rates
        self._hear = hear
        self._guarded: dict[str, grpc.RpcMethodHandler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler that answers the call: the method's own with the guard around it, or one that refuses."""
        method: str = details.method
        if method.startswith(_HEALTH):
            return await continuation(details)
        if self._tokens is not None:
            try:
                _caller.set(self._tokens.name_of(_token_in(details.invocation_metadata)))
            except (NotAuthenticated, NotPermitted) as error:
                return _refusing(error, method, self._hear)
        if not method.startswith(_OURS):
            return await continuation(details)
        places = self._streams if method == _STREAMING else self._calls
        if places.full:
            return _refusing(places.refusal(), method, self._hear)
        if method not in self._guarded:
            handler = await continuation(details)
            if handler is None:
                return None
            self._guarded[method] = self._around(handler, places, method)
        return self._guarded[method]

    @property
    def inside(self) -> Mapping[str, int]:
        """How many places are taken, by what they are for."""
        return {"calls": self._calls.inside, "streams": self._streams.inside}

    def _around(self, handler: grpc.RpcMethodHandler, places: Admission, method: str) -> grpc.RpcMethodHandler:
        if handler.request_streaming:
            behaviour = self._in_place(
                self._slowed(handler.stream_stream) if self._rates is not None else handler.stream_stream, places
            )
            behaviour = told(behaviour, method, self._hear)
            return grpc.stream_stream_rpc_method_handler(behaviour, handler.request_deserializer, handler.response_serializer)
        behaviour = self._in_place(self._charged(handler.unary_unary) if self._rates is not None else handler.unary_unary, places)
        behaviour = told(behaviour, method, self._hear)
        return grpc.unary_unary_rpc_method_handler(behaviour, handler.request_deserializer, handler.response_serializer)

    @staticmethod
    def _in_place(behaviour: Behaviour, places: Admission) -> Behaviour:
        async def placed(message: Any, context: grpc.aio.ServicerContext) -> Any:
            if places.full:
                await abort(places.refusal(), context)
            places.enter()
            try:
                return await behaviour(message, context)
            finally:
                places.leave()

        return placed

    def _charged(self, behaviour: Behaviour) -> Behaviour:
        rates = self._rates
        assert rates is not None

        async def charged(message: Any, context: grpc.aio.ServicerContext) -> Any:
            count = len(message.requests) if isinstance(message, pb.PredictBatchRequest) else 1
            try:
                rates.take(_client(context), count)
            except HabitusError as error:
                await abort(error, context)
            return await behaviour(message, context)

        return charged

    def _slowed(self, behaviour: Behaviour) -> Behaviour:
        """A stream is read no faster than its client's rate: that slows the sender, and nothing need be refused."""
        rates = self._rates
        assert rates is not None

        async def slowed(messages: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> Any:
            return await behaviour(_at_rate(messages, rates, _client(context)), context)

        return slowed


async def _at_rate(messages: AsyncIterator[Any], rates: Rates, client: str) -> AsyncIterator[Any]:
    async for message in messages:
        while (wait_s := rates.wait_s(client)) > 0:  # noqa: ASYNC110  time is what is waited for
            await asyncio.sleep(wait_s)
        yield message


def _client(context: grpc.aio.ServicerContext) -> str:
    return _caller.get() or client_at(context.peer())


def _token_in(metadata: Any) -> str:
    """The bearer token of a call. Raises `NotAuthenticated` if there is none."""
    for key, value in metadata:
        if key == "authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return str(value[len(_BEARER) :].strip())
    raise NotAuthenticated


def _refusing(error: HabitusError, method: str, hear: Hear) -> grpc.RpcMethodHandler:
    """A handler that ends the call with `error`; one of a stream, since that is called before any message is read."""

    async def refuse(_: Any, context: grpc.aio.ServicerContext) -> None:
        await abort(error, context)

    return grpc.stream_unary_rpc_method_handler(told(refuse, method, hear))
