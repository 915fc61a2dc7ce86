"""Who is let in, how many, how often: over real channels, with the codes of the contract."""

import asyncio
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from predictor.adapters.grpc_guard import Guard
from predictor.protection.admission import Admission
from predictor.protection.circuit import Circuit, GuardedReader
from predictor.protection.rates import Rates
from predictor.protection.tokens import line_of, new_token
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from tests.secure import KEY_PASSWORD, Certificates, make_certificates
from tests.unit.predictor.edge import HeldReader, detail, failure, running, until

P1 = pb.PredictRequest(person_id="p1")
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


@pytest.fixture
def tokens(tmp_path: Path) -> dict[str, str]:
    """Tokens by name; their lines are in `tmp_path/tokens`."""
    made = {name: new_token() for name in ("mine", "other")}
    (tmp_path / "tokens").write_text("\n".join(line_of(name, token) for name, token in made.items()))
    return made


async def test_no_token_and_a_wrong_one_are_told_apart(parts: Any, reader: Any, tokens: Any, tmp_path: Path):
    async with running(parts, predictor_tokens_file=tmp_path / "tokens") as at, grpc.aio.insecure_channel(at) as channel:
        stub = predictor_pb2_grpc.PredictorStub(channel)
        assert (await failure(stub.Predict(P1))).code() is Code.UNAUTHENTICATED
        assert (await failure(stub.Predict(P1, metadata=(("authorization", "Basic x"),)))).code() is Code.UNAUTHENTICATED
        assert (await failure(stub.Predict(P1, metadata=bearer(new_token())))).code() is Code.PERMISSION_DENIED
        assert reader.reads == []
        assert (await stub.Predict(P1, metadata=bearer(tokens["mine"]))).level


@pytest.mark.parametrize("method", ["Predict", "PredictBatch", "PredictStream", "GetVersion"])
async def test_every_method_asks_for_a_token(parts: Any, tokens: Any, tmp_path: Path, method: str):
    async with running(parts, predictor_tokens_file=tmp_path / "tokens") as at, grpc.aio.insecure_channel(at) as channel:
        call = channel.unary_unary(f"/habitus.v1.Predictor/{method}")
        assert (await failure(call(b""))).code() is Code.UNAUTHENTICATED
        assert (await failure(channel.unary_unary("/habitus.v1.Other/Method")(b""))).code() is Code.UNAUTHENTICATED


async def test_health_needs_no_token_and_reflection_does(parts: Any, tokens: Any, tmp_path: Path):
    async with running(parts, predictor_tokens_file=tmp_path / "tokens") as at, grpc.aio.insecure_channel(at) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        assert (await failure(stub.ServerReflectionInfo(asked).read())).code() is Code.UNAUTHENTICATED
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        [listed] = [each async for each in stub.ServerReflectionInfo(asked, metadata=bearer(tokens["mine"]))]
        assert listed.list_services_response.service


async def test_a_call_above_the_limit_is_refused_before_it_waits_with_the_time_to_wait(parts: Any):
    held = HeldReader(parts.reader)
    parts = replace(parts, reader=held)
    calls = Admission(2, "calls")
    async with running(parts, Guard(calls, Admission(1, "streams"))) as at, grpc.aio.insecure_channel(at) as channel:
        stub = predictor_pb2_grpc.PredictorStub(channel)
        inside = [asyncio.ensure_future(stub.Predict(P1)) for _ in range(2)]
        await until(lambda: calls.inside == 2)
        error = await failure(stub.Predict(P1))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert detail(error, RetryInfo).retry_delay.ToTimedelta().total_seconds() > 0
        health = health_pb2_grpc.HealthStub(channel)
        assert (await health.Check(health_pb2.HealthCheckRequest())).status == health_pb2.HealthCheckResponse.NOT_SERVING
        held.release.set()
        assert all(answer.level for answer in await asyncio.gather(*inside))
        assert (await stub.Predict(P1)).level


async def test_many_that_come_together_never_exceed_the_limit(parts: Any):
    held = HeldReader(parts.reader)
    calls = Admission(4, "calls")
    async with (
        running(replace(parts, reader=held), Guard(calls, Admission(1, "streams"))) as at,
        grpc.aio.insecure_channel(at) as channel,
    ):
        stub = predictor_pb2_grpc.PredictorStub(channel)
        sent = [asyncio.ensure_future(stub.Predict(P1)) for _ in range(60)]
        await until(lambda: sum(each.done() for each in sent) == 56)
        assert calls.inside == 4
        held.release.set()
        ended = await asyncio.gather(*sent, return_exceptions=True)
        await until(lambda: calls.inside == 0)
    refused = [each for each in ended if isinstance(each, grpc.aio.AioRpcError)]
    assert {each.code() for each in refused} == {Code.RESOURCE_EXHAUSTED}
    assert len(refused) == 56


async def test_at_the_limit_a_call_is_refused_before_its_message_is_there(parts: Any):
    held = HeldReader(parts.reader)
    async with (
        running(replace(parts, reader=held), predictor_concurrency=1) as at,
        grpc.aio.insecure_channel(at) as channel,
    ):
        inside = asyncio.ensure_future(predictor_pb2_grpc.PredictorStub(channel).Predict(P1))
        await until(lambda: held.waiting == 1)
        without_message = channel.stream_unary("/habitus.v1.Predictor/Predict")()
        assert (await asyncio.wait_for(failure(without_message), 10)).code() is Code.RESOURCE_EXHAUSTED
        held.release.set()
        assert (await inside).level


@dataclass
class Headers:
    """A call's headers, as an interceptor sees them."""

    method: str
    invocation_metadata: tuple[tuple[str, str], ...] = ()


class Refused:
    """A call's context that notes what it was ended with."""

    def __init__(self) -> None:
        self.code: Any = None

    async def abort(self, code: Any, *_: Any, **__: Any) -> None:
        self.code = code
        raise grpc.aio.AbortError


async def test_messages_that_come_together_after_their_calls_never_exceed_the_limit():
    """Promise: places are counted where work begins, so calls that were let wait for their messages do not slip in together."""
    calls, most, release = Admission(2, "calls"), [0], asyncio.Event()

    async def answer(*_: Any) -> None:
        most.append(calls.inside)
        await release.wait()

    async def known(_: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(answer)

    guard = Guard(calls, Admission(1, "streams"))
    handlers = [await guard.intercept_service(known, Headers("/habitus.v1.Predictor/Predict")) for _ in range(20)]
    contexts = [Refused() for _ in handlers]
    working = [asyncio.ensure_future(each.unary_unary(P1, context)) for each, context in zip(handlers, contexts, strict=True)]
    await until(lambda: sum(each.done() for each in working) == 18)
    release.set()
    await asyncio.gather(*working, return_exceptions=True)
    assert [each.code for each in contexts] == [None] * 2 + [Code.RESOURCE_EXHAUSTED] * 18
    assert (max(most), calls.inside) == (2, 0)


@pytest.mark.parametrize("end", ["cancelled", "failed"])
async def test_a_place_is_given_back_however_a_call_ends(parts: Any, reader: Any, end: str):
    held = HeldReader(parts.reader)
    calls = Admission(1, "calls")
    async with (
        running(replace(parts, reader=held), Guard(calls, Admission(1, "streams"))) as at,
        grpc.aio.insecure_channel(at) as channel,
    ):
        stub = predictor_pb2_grpc.PredictorStub(channel)
        call = stub.Predict(pb.PredictRequest(person_id="nobody"))
        await until(lambda: held.waiting == 1)
        if end == "cancelled":
            call.cancel()
        else:
            held.release.set()
            assert (await failure(call)).code() is Code.NOT_FOUND
        await until(lambda: calls.inside == 0)
        held.release.set()
        assert (await stub.Predict(P1)).level


async def test_streams_have_places_of_their_own(parts: Any):
    async with running(parts, predictor_streams=1, predictor_concurrency=1) as at, grpc.aio.insecure_channel(at) as channel:
        stub = predictor_pb2_grpc.PredictorStub(channel)
        stream = stub.PredictStream()
        await stream.write(P1)
        assert (await stream.read()).response.level
        assert (await failure(stub.PredictStream(iter([P1])).read())).code() is Code.RESOURCE_EXHAUSTED
        assert (await stub.Predict(P1)).level
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF
        await until(stream.done)
        assert [each async for each in stub.PredictStream(iter([P1]))]


async def test_a_rate_is_each_clients_own_and_a_batch_counts_its_requests(parts: Any, tokens: Any, tmp_path: Path):
    limits = {"predictor_rate_per_s": 0.001, "predictor_rate_burst": 10}
    async with (
        running(parts, predictor_tokens_file=tmp_path / "tokens", **limits) as at,
        grpc.aio.insecure_channel(at) as channel,
    ):
        stub = predictor_pb2_grpc.PredictorStub(channel)
        await stub.PredictBatch(pb.PredictBatchRequest(requests=[P1] * 10), metadata=bearer(tokens["mine"]))
        error = await failure(stub.Predict(P1, metadata=bearer(tokens["mine"])))
        assert error.code() is Code.RESOURCE_EXHAUSTED
        assert detail(error, RetryInfo).retry_delay.seconds > 900
        assert "mine" in error.details()
        assert (await stub.Predict(P1, metadata=bearer(tokens["other"]))).level


async def test_without_tokens_a_client_is_its_address(parts: Any):
    limits = {"predictor_rate_per_s": 0.001, "predictor_rate_burst": 1}
    async with running(parts, **limits) as at:
        for allowed in (True, False):  # another connection is the same client
            async with grpc.aio.insecure_channel(at, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                call = predictor_pb2_grpc.PredictorStub(channel).Predict(P1)
                if allowed:
                    assert (await call).level
                else:
                    assert (await failure(call)).code() is Code.RESOURCE_EXHAUSTED


async def test_a_stream_above_its_rate_is_slowed_and_not_refused(parts: Any):
    looks = count()
    rates = Rates(per_s=200, burst=1, monotonic=lambda: next(looks) / 1000)  # a millisecond passes from look to look
    async with (
        running(parts, Guard(Admission(9, "calls"), Admission(9, "streams"), None, rates)) as at,
        grpc.aio.insecure_channel(at) as channel,
    ):
        sent = iter([P1] * 20)
        results = [each async for each in predictor_pb2_grpc.PredictorStub(channel).PredictStream(sent)]
    assert [each.WhichOneof("outcome") for each in results] == ["response"] * 20
    assert next(looks) >= 95  # 19 requests above the burst are worth 95 milliseconds


async def test_a_method_that_is_none_is_unimplemented(parts: Any):
    async with running(parts) as at, grpc.aio.insecure_channel(at) as channel:
        for _ in range(2):
            error = await failure(channel.unary_unary("/habitus.v1.Predictor/None")(b""))
            assert error.code() is Code.UNIMPLEMENTED


def credentials(files: Certificates, *, client: bool = False, ca: Path | None = None) -> grpc.ChannelCredentials:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    key = serialization.load_pem_private_key(files.client_key.read_bytes(), KEY_PASSWORD.encode())
    opened = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    pair = {"private_key": opened, "certificate_chain": files.client_cert.read_bytes()} if client else {}
    return grpc.ssl_channel_credentials((ca or files.ca).read_bytes(), **pair)


async def asked(at: str, credentials: grpc.ChannelCredentials | None) -> Any:
    """What one request ends with: its level, or its code."""
    opened = grpc.aio.insecure_channel(at) if credentials is None else grpc.aio.secure_channel(at, credentials)
    async with opened as channel:
        try:
            return (await predictor_pb2_grpc.PredictorStub(channel).Predict(P1, timeout=5)).level
        except grpc.aio.AioRpcError as error:
            return error.code()


async def test_tls_is_all_that_is_spoken_once_there_is_a_certificate(parts: Any, files: Certificates):
    pair = {"predictor_tls_certfile": files.server_cert, "predictor_tls_keyfile": files.server_key}
    async with running(parts, **pair) as at:
        assert isinstance(await asked(at, credentials(files)), str)
        assert await asked(at, credentials(files, ca=files.other_ca)) is Code.UNAVAILABLE
        assert await asked(at, None) is Code.UNAVAILABLE


async def test_mutual_tls_lets_nobody_in_without_a_certificate_of_its_authority(parts: Any, files: Certificates):
    pair = {"predictor_tls_certfile": files.server_cert, "predictor_tls_keyfile": files.server_key}
    async with running(parts, **pair, predictor_tls_client_cafile=files.ca) as at:
        assert isinstance(await asked(at, credentials(files, client=True)), str)
        assert await asked(at, credentials(files)) is Code.UNAVAILABLE
    async with running(parts, **pair, predictor_tls_client_cafile=files.other_ca) as at:
        assert await asked(at, credentials(files, client=True)) is Code.UNAVAILABLE


async def test_a_store_that_is_gone_is_told_at_once_and_found_again_by_itself(parts: Any, reader: Any):
    now_s = 0.0
    circuit = Circuit("redis", failures=2, within_s=10, pause_s=1, monotonic=lambda: now_s)
    guarded = replace(parts, reader=GuardedReader(reader, circuit, timeout_s=1))
    async with running(guarded) as at, grpc.aio.insecure_channel(at) as channel:
        stub = predictor_pb2_grpc.PredictorStub(channel)
        reader.down = True
        for _ in range(5):
            error = await failure(stub.Predict(P1))
            assert error.code() is Code.UNAVAILABLE
            assert detail(error, RetryInfo).retry_delay.ToTimedelta().total_seconds() > 0
        assert len(reader.reads) == 2
        reader.down, now_s = False, 1.0
        assert (await stub.Predict(P1)).level
