"""The edge: messages, codes and details, over a real channel to a server whose parts are fakes."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import LEVELS
from predictor.adapters.grpc_errors import TEXT_LIMIT, status_of
from predictor.adapters.grpc_server import SERVICE, GrpcServer, PredictorService
from predictor.messages import Serving
from predictor.settings import PredictorSettings
from protos.habitus.v1 import person_pb2, predictor_pb2_grpc
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.errors import (
    HabitusError,
    InfrastructureError,
    InvalidRequest,
    ModelRefused,
    NotEnoughData,
    RecordRejected,
    StaleFeatures,
    Unavailable,
    UnknownModel,
    UnknownPerson,
    Violation,
)


class FakeShelfOfOne:
    """What GetVersion asks."""

    def __init__(self, serving: bool | None = None) -> None:
        self.champion = serving


@pytest.fixture
def shelf(models: Any):
    return FakeShelfOfOne(Serving(models.by_alias["champion"], "champion"))


@pytest.fixture
async def server(parts: Any, shelf: Any):
    settings = PredictorSettings(predictor_address="127.0.0.1:0", predictor_stop_grace_s=0.2)
    running = GrpcServer(settings, PredictorService(parts, shelf))
    running.at = await running.start(settings.predictor_address)
    yield running
    await running.stop()


@pytest.fixture
async def channel(server: Any):
    async with grpc.aio.insecure_channel(server.at) as opened:
        yield opened


@pytest.fixture
def stub(channel: Any):
    return predictor_pb2_grpc.PredictorStub(channel)


async def failure(call: Any):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


def detail(error: HabitusError, kind: Any):
    status = status_of(error) if isinstance(error, HabitusError) else None
    found = kind()
    for packed in status.details:
        if packed.Unpack(found):
            return found
    return None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownPerson("p"), code_pb2.NOT_FOUND),
        (UnknownModel("x"), code_pb2.NOT_FOUND),
        (InvalidRequest(Violation("a", "b")), code_pb2.INVALID_ARGUMENT),
        (RecordRejected("invalid_record", (Violation("a", "b"),)), code_pb2.INVALID_ARGUMENT),
        (StaleFeatures("p", timedelta(2), timedelta(1)), code_pb2.FAILED_PRECONDITION),
        (ModelRefused("bad"), code_pb2.FAILED_PRECONDITION),
        (Unavailable("redis", "gone"), code_pb2.UNAVAILABLE),
        (InfrastructureError("disk"), code_pb2.UNAVAILABLE),
        (NotEnoughData("none"), code_pb2.INTERNAL),
    ],
)
def test_every_error_has_its_code(error: HabitusError, code: Any):
    assert status_of(error).code == code
    assert detail(error, ErrorInfo).domain == "habitus"


def test_violated_fields_and_the_time_to_wait_are_details():
    error = RecordRejected("invalid_record", (Violation("age_years", "too old"), Violation("gender", "missing")))
    assert [each.field for each in detail(error, BadRequest).field_violations] == ["age_years", "gender"]
    waits = Unavailable("redis", "gone", retry_after=timedelta(seconds=3))
    assert detail(waits, RetryInfo).retry_delay.ToTimedelta() == timedelta(seconds=3)


def test_a_message_fits_into_a_header():
    assert len(status_of(HabitusError("x" * 100_000)).message) == TEXT_LIMIT


async def test_predict_answers_with_all_that_the_contract_names(stub: Any):
    response = await stub.Predict(pb.PredictRequest(person_id="p1", request_id="r1"))
    answer = MessageToDict(response, preserving_proto_field_name=True)
    assert set(answer) == {"level", "probabilities", "model", "features", "request_id"}
    assert set(answer["probabilities"]) == set(LEVELS)
    assert answer["model"] == {"name": "obesity-level", "version": "1", "alias": "champion"}
    assert answer["features"]["source_topic"] == "person.records"
    assert answer["features"]["source_offset"] == "11"
    assert answer["features"]["event_timestamp"] == "2026-03-01T11:00:00Z"
    assert answer["request_id"] == "r1"


async def test_predict_takes_an_inline_record(stub: Any):
    record = person_pb2.PersonRecord(gender="Male", age_years=30, height_m=1.8, weight_kg=80)
    response = await stub.Predict(pb.PredictRequest(record=record))
    assert response.features.source_topic == ""
    assert "smokes" in response.features.defaults_used


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (pb.PredictRequest(person_id="nobody"), grpc.StatusCode.NOT_FOUND),
        (pb.PredictRequest(person_id="p1", model_alias="none"), grpc.StatusCode.NOT_FOUND),
        (pb.PredictRequest(), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(record=person_pb2.PersonRecord(age_years=3)), grpc.StatusCode.INVALID_ARGUMENT),
        (pb.PredictRequest(person_id="p1", max_feature_age={"seconds": 10}), grpc.StatusCode.FAILED_PRECONDITION),
        (pb.PredictRequest(person_id="p1", max_feature_age={"seconds": 2**62}), grpc.StatusCode.INVALID_ARGUMENT),
        (
            pb.PredictRequest(record=person_pb2.PersonRecord(event_timestamp={"seconds": 2**62})),
            grpc.StatusCode.INVALID_ARGUMENT,
        ),
    ],
)
async def test_predict_fails_with_the_code_of_the_contract(stub: Any, request_: Any, code: Any):
    assert (await failure(stub.Predict(request_))).code() is code


async def test_a_missing_store_is_unavailable_with_the_time_to_wait(stub: Any, reader: Any):
    reader.down = True
    error = await failure(stub.Predict(pb.PredictRequest(person_id="p1")))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    details = rpc_status.from_call(_Sync(error)).details
    assert any(each.Is(RetryInfo.DESCRIPTOR) for each in details)


class _Sync:
    """An asynchronous error, as `grpc_status` reads errors."""

    def __init__(self, error: HabitusError) -> None:
        self._error = error

    def code(self) -> Any:
        return self._error.code()

    def details(self) -> Any:
        return self._error.details()

    def trailing_metadata(self) -> Any:
        return self._error.trailing_metadata()


async def test_a_batch_mixes_answers_and_errors_in_order(stub: Any):
    requests = [pb.PredictRequest(person_id=name) for name in ("p1", "nobody", "", "p1")]
    response = await stub.PredictBatch(pb.PredictBatchRequest(requests=requests))
    assert [each.WhichOneof("outcome") for each in response.results] == ["response", "error", "error", "response"]
    assert [each.error.code for each in response.results[1:3]] == [code_pb2.NOT_FOUND, code_pb2.INVALID_ARGUMENT]
    assert "nobody" in response.results[1].error.message


async def test_a_batch_over_the_limit_is_refused(stub: Any):
    requests = [pb.PredictRequest(person_id="p1")] * 1001
    error = await failure(stub.PredictBatch(pb.PredictBatchRequest(requests=requests)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_batch_that_fails_altogether_for_want_of_a_part_is_unavailable(stub: Any, reader: Any):
    reader.down = True
    requests = [pb.PredictRequest(person_id="p1")] * 2
    error = await failure(stub.PredictBatch(pb.PredictBatchRequest(requests=requests)))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


async def test_the_version_tells_model_and_inputs(stub: Any, shelf: Any):
    response = await stub.GetVersion(pb.GetVersionRequest())
    assert (response.model.version, tuple(response.inputs)) == ("1", FEATURE_NAMES)
    assert response.service_version
    assert response.loaded_at.ToJsonString() == "2026-03-01T12:00:00Z"
    shelf.champion = None
    assert (await failure(stub.GetVersion(pb.GetVersionRequest()))).code() is grpc.StatusCode.UNAVAILABLE


async def test_health_says_what_it_is_told(server: Any, channel: Any):
    stub = health_pb2_grpc.HealthStub(channel)
    for serving, status in ((None, "NOT_SERVING"), (True, "SERVING"), (False, "NOT_SERVING")):
        if serving is not None:
            await server.say(serving=serving)
        for name in ("", SERVICE):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) == status


async def test_reflection_lists_the_service(channel: Any):
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    [answer] = [
        each async for each in stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    ]
    names = {each.name for each in answer.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names


async def test_a_message_over_the_limit_is_refused(stub: Any):
    error = await failure(stub.Predict(pb.PredictRequest(request_id="x" * 5_000_000)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_an_address_in_use_says_what_to_do(server: Any, parts: Any, shelf: Any):
    second = GrpcServer(PredictorSettings(), PredictorService(parts, shelf))
    with pytest.raises(InfrastructureError) as caught:
        await second.start(server.at)
    assert "HABITUS_PREDICTOR_ADDRESS" in caught.value.remedy
    await second.stop()
