"""The gRPC edge: `habitus.v1.Predictor`, health and reflection on one port.

Place in the flow: turns messages into requests of `handlers` and outcomes into messages; the codes are `grpc_errors`'.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from predictor import handlers
from predictor.adapters.grpc_errors import DETAILS_KEY, status_of
from predictor.adapters.grpc_messages import to_failure, to_model_info, to_request, to_response
from predictor.batching import Batcher
from predictor.handlers import Outcome, Parts
from predictor.messages import PredictionRequest
from predictor.settings import PredictorSettings
from predictor.shelf import Shelf, no_champion
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from runtime.errors import HabitusError, InfrastructureError, Unavailable

SERVICE = "habitus.v1.Predictor"
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class PredictorService(predictor_pb2_grpc.PredictorServicer):
    """`habitus.v1.Predictor` over the core."""

    def __init__(self, parts: Parts, shelf: Shelf) -> None:
        self._parts = parts
        self._shelf = shelf
        self._batcher = Batcher(lambda requests: handlers.predict(requests, parts))

    async def Predict(self, message: pb.PredictRequest, context: grpc.aio.ServicerContext) -> pb.PredictResponse:  # noqa: N802
        """One answer, or the status of its error."""
        outcome = await self._batcher.submit(_request(message))
        if isinstance(outcome, HabitusError):
            await _abort(outcome, context)
        return to_response(outcome)

    async def PredictBatch(  # noqa: N802
        self, message: pb.PredictBatchRequest, context: grpc.aio.ServicerContext
    ) -> pb.PredictBatchResponse:
        """Results in the order of the requests. A batch that fails altogether for want of a part fails as such, to be retried."""
        try:
            outcomes = await self._outcomes(message.requests)
        except HabitusError as error:
            await _abort(error, context)
        gone = [each for each in outcomes if isinstance(each, Unavailable)]
        if gone and len(gone) == len(outcomes):
            await _abort(gone[0], context)
        return pb.PredictBatchResponse(results=[_result(each) for each in outcomes])

    async def GetVersion(  # noqa: N802
        self, _: pb.GetVersionRequest, context: grpc.aio.ServicerContext
    ) -> pb.GetVersionResponse:
        """The release and the champion that serves."""
        serving = self._shelf.champion
        if serving is None:
            await _abort(no_champion(), context)
        answer = pb.GetVersionResponse(
            service_version=version("habitus"), model=to_model_info(serving), inputs=serving.model.inputs
        )
        answer.loaded_at.FromDatetime(serving.model.loaded_at)
        return answer

    async def _outcomes(self, messages: Sequence[pb.PredictRequest]) -> list[Outcome]:
        return await handlers.predict([_request(each) for each in messages], self._parts)


class GrpcServer:
    """The server on its port; `health` says what it may be asked."""

    def __init__(self, settings: PredictorSettings, service: PredictorService) -> None:
        limit = settings.predictor_message_limit_bytes
        options = [
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", limit),
            ("grpc.so_reuseport", 0),  # a second predictor on this port must fail, not take half of the requests
        ]
        self._server = grpc.aio.server(options=options)
        self._grace_s = settings.predictor_stop_grace_s
        self._health = health.aio.HealthServicer()
        predictor_pb2_grpc.add_PredictorServicer_to_server(service, self._server)  # type: ignore[no-untyped-call]  # generated
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str) -> str:
        """Listen on `address` (port 0: a free one), not serving yet; returns the address. Raises `InfrastructureError`."""
        await self.say(serving=False)
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            remedy = "stop what listens there, or set HABITUS_PREDICTOR_ADDRESS"
            raise InfrastructureError(f"{address} cannot be listened on", remedy=remedy) from error
        await self._server.start()
        return f"{address.rpartition(':')[0]}:{port}"

    async def say(self, *, serving: bool) -> None:
        """Let the health service answer SERVING or NOT_SERVING, for the server and for `SERVICE`."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in (health.OVERALL_HEALTH, SERVICE):
            await self._health.set(name, status)

    async def stop(self) -> None:
        """Take no more requests; running ones end within the grace."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._grace_s)


def _request(message: pb.PredictRequest) -> PredictionRequest | HabitusError:
    try:
        return to_request(message)
    except HabitusError as error:
        return error


def _result(outcome: Outcome) -> pb.PredictResult:
    if isinstance(outcome, HabitusError):
        return to_failure(status_of(outcome))
    return pb.PredictResult(response=to_response(outcome))


async def _abort(error: HabitusError, context: grpc.aio.ServicerContext) -> NoReturn:
    status = status_of(error)
    details = ((DETAILS_KEY, status.SerializeToString()),)
    await context.abort(_CODES[status.code], status.message, trailing_metadata=details)
    raise AssertionError("abort raises")
