"""Nothing is done for a caller who waits no more."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from predictor.adapters.grpc_errors import status_of
from predictor.handlers import predict
from predictor.messages import PredictionRequest
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from runtime.errors import DeadlinePassed
from tests.unit.predictor.edge import HeldReader, failure, running, until


async def test_a_request_whose_deadline_passed_is_dropped_before_anything_is_read(parts: Any, reader: Any, now: Any):
    late = [PredictionRequest("p1", deadline=now - timedelta(seconds=after)) for after in (0, 1)]
    outcomes = await predict(late, parts)
    assert [type(each) for each in outcomes] == [DeadlinePassed] * 2
    assert reader.reads == []
    assert status_of(outcomes[0]).code == code_pb2.DEADLINE_EXCEEDED


async def test_those_in_time_are_answered_beside_late_ones(parts: Any, now: Any):
    soon = [PredictionRequest("p1", deadline=now + timedelta(seconds=1)), PredictionRequest("p1", deadline=now)]
    answered, dropped = await predict(soon, parts)
    assert answered.level
    assert isinstance(dropped, DeadlinePassed)


class Remaining:
    """A call's context that tells how long its caller waits."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.code: Any = None

    def time_remaining(self) -> float | None:
        return self.seconds

    async def abort(self, code: Any, *_: Any, **__: Any) -> None:
        self.code = code
        raise grpc.aio.AbortError


@pytest.mark.parametrize("method", ["Predict", "PredictBatch"])
async def test_a_call_that_was_taken_up_too_late_is_ended_unread(parts: Any, reader: Any, method: str):
    from predictor.adapters.grpc_server import PredictorService  # noqa: PLC0415

    request = pb.PredictRequest(person_id="p1")
    message = request if method == "Predict" else pb.PredictBatchRequest(requests=[request])
    context, service = Remaining(0.0), PredictorService(parts, shelf=None)
    if method == "Predict":
        with pytest.raises(grpc.aio.AbortError):
            await service.Predict(message, context)
        assert context.code is grpc.StatusCode.DEADLINE_EXCEEDED
    else:
        answer = await service.PredictBatch(message, context)
        assert answer.results[0].error.code == code_pb2.DEADLINE_EXCEEDED
    assert reader.reads == []
    for seconds in (None, 1e18, 5.0):
        assert (await service.Predict(request, Remaining(seconds))).level


@pytest.mark.parametrize("end", ["deadline", "cancelled"])
async def test_work_that_waits_ends_with_its_caller(parts: Any, end: str):
    held = HeldReader(parts.reader)
    async with running(replace(parts, reader=held)) as at, grpc.aio.insecure_channel(at) as channel:
        stub = predictor_pb2_grpc.PredictorStub(channel)
        call = stub.Predict(pb.PredictRequest(person_id="p1"), timeout=0.3 if end == "deadline" else None)
        await until(lambda: held.waiting == 1)
        if end == "cancelled":
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        else:
            assert (await failure(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: held.waiting == 0)
