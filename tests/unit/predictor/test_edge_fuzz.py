"""Whatever comes in: no crash, the next good request is answered, nothing grows."""

import asyncio
import gc
import os
import socket
import struct
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.adapters.grpc_methods import method_handlers
from predictor.adapters.grpc_server import PredictorService
from protos.habitus.v1 import person_pb2, predictor_pb2_grpc
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.errors import InvalidRequest
from tests.unit.predictor.edge import failure, running, until

P1 = pb.PredictRequest(person_id="p1")
METHODS = ("Predict", "PredictBatch", "PredictStream", "GetVersion")
ROUNDS = 40
SLACK = 10  # tasks that gRPC has at hand: one for each method that it takes up next, and of this test's own channel
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROMISED = {
    grpc.StatusCode.OK,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


async def answers(at: str) -> None:
    """A good request on a fresh connection is answered."""
    async with grpc.aio.insecure_channel(at, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        assert (await predictor_pb2_grpc.PredictorStub(channel).Predict(P1, timeout=20)).level


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def connection(at: str) -> socket.socket:
    host, _, port = at.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


async def hurt(at: str, data: bytes, *, shut: bool = True) -> socket.socket:
    """Send bytes and close hard; or leave the connection as it is."""
    opened = await asyncio.to_thread(connection, at)
    opened.sendall(data)
    if shut:
        await asyncio.sleep(0)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        opened.close()
    return opened


def memory_kib() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


@given(data=st.binary(max_size=300))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_bytes_that_are_no_message_are_an_error_and_never_an_exception(parts: Any, data: bytes):
    for handler in method_handlers(PredictorService(parts, shelf=None)).values():
        message = handler.request_deserializer(data)
        assert isinstance(message, InvalidRequest) or message.SerializeToString() is not None


@pytest.mark.parametrize("method", METHODS[:3])
async def test_malformed_protobuf_is_the_callers_fault(parts: Any, method: str, caplog: Any):
    async with running(parts) as at, grpc.aio.insecure_channel(at) as channel:
        path = f"/habitus.v1.Predictor/{method}"
        for data in (b"\xff" * 20, b"\x0a\x7f", b"\x12\x03\x08", b"\x0a\x04\xff\xfe\xfd\xfc"):
            if method == "PredictStream":
                results = [pb.PredictResult.FromString(each) async for each in channel.stream_stream(path)(iter([data] * 3))]
                assert [each.error.code for each in results] == [grpc.StatusCode.INVALID_ARGUMENT.value[0]] * 3
            else:
                assert (await failure(channel.unary_unary(path)(data))).code() is grpc.StatusCode.INVALID_ARGUMENT
        await answers(at)
    assert not caplog.records  # an error that a stranger can make must not fill the log


async def test_random_messages_are_answered_with_promised_codes(parts: Any):
    async with running(parts) as at, grpc.aio.insecure_channel(at) as channel:
        before = len(asyncio.all_tasks())
        good = pb.PredictRequest(record=person_pb2.PersonRecord(gender="Male", age_years=30, height_m=1.8, weight_kg=80))
        for number in range(10 * ROUNDS):
            data = bytearray(good.SerializeToString())
            data[number % len(data)] ^= 1 << (number % 8)
            call = channel.unary_unary("/habitus.v1.Predictor/Predict")(bytes(data))
            assert await call.code() in PROMISED
        del call
        await answers(at)
        await until(lambda: len(asyncio.all_tasks()) <= before + SLACK)


async def test_huge_messages_are_refused_unread(parts: Any, reader: Any):
    async with running(parts, predictor_message_limit_bytes=64 * 1024) as at, grpc.aio.insecure_channel(at) as channel:
        for method in METHODS[:2]:
            call = channel.unary_unary(f"/habitus.v1.Predictor/{method}")
            for size in (65 * 1024, 8 * 1024 * 1024):
                assert (await failure(call(bytes(size)))).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = channel.stream_stream("/habitus.v1.Predictor/PredictStream")(iter([bytes(8 * 1024 * 1024)]))
        assert (await failure(stream.read())).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await answers(at)
    assert len(reader.reads) == 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50),
        PREFACE + b"\xff" * 100,
        PREFACE + frame(4, 0, 0, b"") + frame(0, 0, 1, b"x" * 100),
        PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, b"\xff" * 50),
        PREFACE + frame(4, 0, 0, b"") + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        *(os.urandom(2_000) for _ in range(3)),
        *(PREFACE + frame(4, 0, 0, b"") + os.urandom(2_000) for _ in range(3)),
    ],
)
async def test_bytes_on_the_socket_harm_nobody(parts: Any, data: bytes):
    async with running(parts) as at:
        await answers(at)
        before = len(asyncio.all_tasks())
        for _ in range(ROUNDS):
            await hurt(at, data)
        await answers(at)
        await until(lambda: len(asyncio.all_tasks()) <= before + SLACK)


async def test_half_open_connections_keep_nobody_waiting(parts: Any):
    async with running(parts) as at:
        await answers(at)
        before = len(asyncio.all_tasks())
        begun = (b"", PREFACE[:10], PREFACE, PREFACE + frame(4, 0, 0, b""), PREFACE + frame(4, 0, 0, b"") + b"\x00\x00")
        opened = [await hurt(at, data, shut=False) for data in begun * 10]
        await answers(at)
        assert len(asyncio.all_tasks()) <= before + SLACK
        for each in opened:
            each.close()


async def test_a_call_without_its_message_holds_no_place(parts: Any):
    """Promise: who sends headers and then nothing keeps nobody else out."""
    async with running(parts, predictor_concurrency=1, predictor_streams=1) as at, grpc.aio.insecure_channel(at) as channel:
        silent = [channel.stream_unary("/habitus.v1.Predictor/Predict")() for _ in range(20)]
        for each in silent:
            await each.wait_for_connection()
        for _ in range(5):
            await answers(at)
        for each in silent:
            each.cancel()


async def test_clients_that_vanish_leave_nothing_behind(parts: Any):
    async with running(parts) as at:
        await answers(at)
        before = len(asyncio.all_tasks())
        for _ in range(ROUNDS):
            async with grpc.aio.insecure_channel(at, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
                stub = predictor_pb2_grpc.PredictorStub(channel)
                stream = stub.PredictStream()
                await stream.write(P1)
                calls = [stub.Predict(P1) for _ in range(3)]
                await calls[0]
                # the channel closes with a stream open and calls under way
            del stream, calls
        await answers(at)
        await until(lambda: len(asyncio.all_tasks()) <= before + SLACK)


async def test_memory_does_not_grow_with_what_was_refused(parts: Any):
    async with running(parts) as at, grpc.aio.insecure_channel(at) as channel:
        call = channel.unary_unary("/habitus.v1.Predictor/Predict")

        async def refused(rounds: int) -> None:
            for _ in range(rounds):
                await asyncio.gather(*(failure(call(b"\xff" * 200)) for _ in range(20)))

        await refused(30)
        gc.collect()
        before = memory_kib()
        await refused(100)
        gc.collect()
        assert memory_kib() - before < 4 * 1024  # 2,000 calls; one that leaked would keep some 10 KiB
