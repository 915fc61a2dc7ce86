"""The gRPC edge: `habitus.v1.Predictor`, health and reflection on one port.

Place in the flow: turns messages into requests of `handlers` and outcomes into messages; the codes are `grpc_errors`', who is let
in is `grpc_guard`'s.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from importlib.metadata import version

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from predictor import handlers
from predictor.adapters.grpc_errors import status_of
from predictor.adapters.grpc_guard import Guard, abort
from predictor.adapters.grpc_messages import to_failure, to_model_info, to_request, to_response
from predictor.adapters.grpc_methods import SERVICE, method_handlers
from predictor.adapters.grpc_tls import server_credentials
from predictor.adapters.listening import cannot_listen
from predictor.batching import Batcher
from predictor.handlers import Outcome, Parts
from predictor.in_order import in_order
from predictor.messages import PredictionRequest
from predictor.settings import PredictorSettings
from predictor.shelf import Shelf, no_champion
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from runtime.errors import HabitusError, InvalidRequest, Unavailable

# Requests of one stream that are begun and not yet answered: enough to fill a micro-batch, few enough to be held by every stream.
STREAM_IN_FLIGHT = 32
_OPTIONS = (
    ("grpc.server_handshake_timeout_ms", 10_000),  # who connects and says nothing is let go
    ("grpc.keepalive_time_ms", 60_000),  # a peer that vanished without a word is found
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class PredictorService(predictor_pb2_grpc.PredictorServicer):
    """`habitus.v1.Predictor` over the core. A message that could not be read comes as its error."""

    def __init__(self, parts: Parts, shelf: Shelf) -> None:
        self._parts = parts
        self._shelf = shelf
        self._batcher = Batcher(lambda requests: handlers.predict(requests, parts))

    @property
    def waiting(self) -> int:
        """How many requests are in no batch yet."""
        return self._batcher.waiting

    async def Predict(  # noqa: N802
        self, message: pb.PredictRequest | InvalidRequest, context: grpc.aio.ServicerContext
    ) -> pb.PredictResponse:
        """One answer, or the status of its error."""
        outcome = await self._one(_request(message, self._deadline(context)))
        if isinstance(outcome, HabitusError):
            await abort(outcome, context)
        return to_response(outcome, self._now())

    async def PredictBatch(  # noqa: N802
        self, message: pb.PredictBatchRequest | InvalidRequest, context: grpc.aio.ServicerContext
    ) -> pb.PredictBatchResponse:
        """Results in the order of the requests. A batch that fails altogether for want of a part fails as such, to be retried."""
        deadline = self._deadline(context)
        try:
            outcomes = await self._many([_request(each, deadline) for each in _messages_of(message)])
        except HabitusError as error:
            await abort(error, context)
        gone = [each for each in outcomes if isinstance(each, Unavailable)]
        if gone and len(gone) == len(outcomes):
            await abort(gone[0], context)
        now = self._now()
        return pb.PredictBatchResponse(results=[_result(each, now) for each in outcomes])

    async def PredictStream(  # noqa: N802
        self, messages: AsyncIterator[pb.PredictRequest | InvalidRequest], context: grpc.aio.ServicerContext
    ) -> None:
        """A result for each request, in their order; more are read only as results are taken."""
        deadline = self._deadline(context)

        async def answer(message: pb.PredictRequest | InvalidRequest) -> pb.PredictResult:
            return _result(await self._one(_request(message, deadline)), self._now())

        async with aclosing(in_order(messages, answer, STREAM_IN_FLIGHT)) as results:
            async for result in results:
                await context.write(result)

    async def GetVersion(  # noqa: N802
        self, _: pb.GetVersionRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetVersionResponse:
        """The release, the champion that serves and how it is computed."""
        serving = self._shelf.champion
        if serving is None:
            await abort(no_champion(), context)
        answer = pb.GetVersionResponse(
            service_version=version("habitus"),
            model=to_model_info(serving),
            inputs=serving.model.inputs,
            evaluation=serving.model.evaluation,
            evaluation_note=serving.model.evaluation_note,
        )
        answer.loaded_at.FromDatetime(serving.model.loaded_at)
        return answer

    async def _one(self, request: PredictionRequest | HabitusError) -> Outcome:
        """The outcome of a single request, gathered with others that come meanwhile."""
        return await self._batcher.submit(request)

    async def _many(self, requests: Sequence[PredictionRequest | HabitusError]) -> list[Outcome]:
        """The outcomes of requests that came together."""
        return await handlers.predict(requests, self._parts)

    def _deadline(self, context: grpc.aio.ServicerContext) -> datetime | None:
        """Until when the caller waits; None for ever."""
        remaining_s = context.time_remaining()
        return None if remaining_s is None else _after(self._now(), remaining_s)

    def _now(self) -> datetime:
        return self._parts.clock.now()


class GrpcServer:
    """The server on its port; `health` says what it may be asked."""

    def __init__(self, settings: PredictorSettings, service: PredictorService, guard: Guard | None = None) -> None:
        limit = settings.predictor_message_limit_bytes
        options = [
            *_OPTIONS,
            # One process shares with nobody: a second predictor must fail, not take half. Of several, the parent sees to that.
            ("grpc.so_reuseport", int(settings.predictor_processes > 1)),
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.max_concurrent_streams", settings.predictor_connection_streams),
            ("grpc.server.max_pending_requests", settings.predictor_backlog),
            ("grpc.server.max_pending_requests_hard_limit", settings.predictor_backlog),
        ]
        self._server = grpc.aio.server(options=options, interceptors=[guard] if guard else None)
        self._credentials = server_credentials(settings)
        self._grace_s = settings.predictor_stop_grace_s
        self._health = health.aio.HealthServicer()
        self._server.add_registered_method_handlers(SERVICE, method_handlers(service))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> str:
        """Listen on `address` (port 0: a free one), not serving yet; returns the address. Raises `InfrastructureError`."""
        await self.say(serving=False)
        try:
            port = self._listen(address)
        except RuntimeError as error:
            raise cannot_listen(address) from error
        await self._server.start()
        return f"{address.rpartition(':')[0]}:{port}"

    def _listen(self, address: str) -> int:
        if self._credentials is None:
            return int(self._server.add_insecure_port(address))
        return int(self._server.add_secure_port(address, self._credentials))

    async def say(self, *, serving: bool) -> None:
        """Let the health service answer SERVING or NOT_SERVING, for the server and for `SERVICE`."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (health.OVERALL_HEALTH, SERVICE):
            await self._health.set(name, status)

    async def stop(self) -> None:
        """Take no more requests; running ones end within the grace."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._grace_s)


def _request(message: pb.PredictRequest | InvalidRequest, deadline: datetime | None) -> PredictionRequest | HabitusError:
    if isinstance(message, InvalidRequest):
        return message
    try:
        return to_request(message, deadline)
    except HabitusError as error:
        return error


def _messages_of(batch: pb.PredictBatchRequest | InvalidRequest) -> Sequence[pb.PredictRequest]:
    """Raises `InvalidRequest` for a batch that could not be read."""
    if isinstance(batch, InvalidRequest):
        raise batch
    return batch.requests


def _result(outcome: Outcome, now: datetime) -> pb.PredictResult:
    if isinstance(outcome, HabitusError):
        return to_failure(status_of(outcome))
    return pb.PredictResult(response=to_response(outcome, now))


def _after(now: datetime, seconds: float) -> datetime | None:
    try:
        return now + timedelta(seconds=seconds)
    except OverflowError:
        return None  # beyond the calendar: for ever
