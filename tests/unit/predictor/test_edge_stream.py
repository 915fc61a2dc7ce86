"""A stream is answered in order, bounded, and leaves nothing behind however it ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2
from hypothesis import given
from hypothesis import strategies as st

from predictor.adapters.grpc_server import STREAM_IN_FLIGHT
from predictor.in_order import in_order
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from tests.unit.predictor.edge import HeldReader, running, until


async def counted(limit: int) -> AsyncIterator[int]:
    for number in range(limit):
        yield number


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 6))
def test_results_come_in_order_whatever_takes_how_long_and_no_more_are_begun_than_allowed(turns: list[int], in_flight: int):
    async def scenario() -> None:
        begun, taken, most = 0, 0, 0

        async def work(number: int) -> int:
            nonlocal begun, most
            begun += 1
            most = max(most, begun - taken)
            for _ in range(turns[number]):
                await asyncio.sleep(0)
            return number

        found = []
        async with aclosing(in_order(counted(len(turns)), work, in_flight)) as results:
            async for result in results:
                found.append(result)
                taken += 1
        assert found == list(range(len(turns)))
        assert most <= in_flight + 1  # the one that is being handed out is counted until it was taken
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(scenario())


class Source:
    """Ten numbers and then nothing more; tells whether it was closed, and fails at `fails_at`."""

    def __init__(self, fails_at: int = -1) -> None:
        self.fails_at = fails_at
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[int]:
        try:
            for number in range(10):
                if number == self.fails_at:
                    raise ValueError("items")
                yield number
            await asyncio.Event().wait()
        finally:
            self.closed = True


async def at_once(number: int) -> int:
    return number


async def only_the_first_two_end(number: int) -> int:
    if number > 1:
        await asyncio.Event().wait()
    return number


async def fails(_: int) -> int:
    raise ValueError("work")


@pytest.mark.parametrize(
    ("end", "source", "work"),
    [
        ("left", Source(), only_the_first_two_end),
        ("left", Source(), at_once),
        ("cancelled", Source(), only_the_first_two_end),
        ("fails", Source(), fails),
        ("fails", Source(fails_at=5), at_once),
    ],
)
async def test_what_was_begun_has_ended_when_the_stream_has(end: str, source: Source, work: Any):
    async def use() -> None:
        async with aclosing(in_order(source, work, 8)) as results:
            async for number in results:
                if end == "left" and number == 1:
                    return

    before = asyncio.all_tasks()
    using = asyncio.create_task(use())
    if end == "cancelled":
        await until(lambda: len(asyncio.all_tasks()) > len(before) + 3)
        using.cancel()
    await asyncio.wait([using], timeout=5)
    assert using.done()
    if end == "fails":
        assert isinstance(using.exception(), ValueError)
    assert source.closed
    assert asyncio.all_tasks() == before


async def test_each_request_has_its_result_and_an_error_is_one(parts: Any):
    names = ["p1", "nobody", "", "p1"] * 50
    async with running(parts) as at, grpc.aio.insecure_channel(at) as channel:
        call = predictor_pb2_grpc.PredictorStub(channel).PredictStream(
            pb.PredictRequest(person_id=name, request_id=str(number)) for number, name in enumerate(names)
        )
        results = [each async for each in call]
    expected = {"p1": 0, "nobody": code_pb2.NOT_FOUND, "": code_pb2.INVALID_ARGUMENT}
    assert [each.error.code for each in results] == [expected[name] for name in names]
    assert [each.response.request_id for each in results][::4] == [str(number) for number in range(0, len(names), 4)]


def in_flight() -> int:
    """How many requests of streams are begun and not answered yet."""
    return sum("PredictStream" in str(task.get_coro()) and "answer" in str(task.get_coro()) for task in asyncio.all_tasks())


async def test_a_store_that_holds_back_stops_the_reading(parts: Any):
    """Promise: no more are begun than may be in flight, however many the client sends."""
    held = HeldReader(parts.reader)
    async with running(replace(parts, reader=held)) as at, grpc.aio.insecure_channel(at) as channel:
        call = predictor_pb2_grpc.PredictorStub(channel).PredictStream(
            pb.PredictRequest(person_id="p1") for _ in range(10 * STREAM_IN_FLIGHT)
        )
        await until(lambda: in_flight() == STREAM_IN_FLIGHT)
        await asyncio.sleep(0.2)  # long enough for all of them, were they still read
        assert in_flight() == STREAM_IN_FLIGHT
        held.release.set()
        assert len([each async for each in call]) == 10 * STREAM_IN_FLIGHT


async def test_a_cancelled_stream_ends_its_requests_and_begins_no_more(parts: Any):
    held = HeldReader(parts.reader)
    async with running(replace(parts, reader=held)) as at, grpc.aio.insecure_channel(at) as channel:
        before = len(asyncio.all_tasks())
        call = predictor_pb2_grpc.PredictorStub(channel).PredictStream(pb.PredictRequest(person_id="p1") for _ in range(1_000))
        await until(lambda: in_flight() == STREAM_IN_FLIGHT)
        call.cancel()
        await until(lambda: in_flight() == held.waiting == 0)
        assert len(held.begun) <= STREAM_IN_FLIGHT
        del call
        await until(lambda: len(asyncio.all_tasks()) <= before + 1)


async def test_a_client_that_does_not_read_slows_its_own_sending_alone(parts: Any, reader: Any):
    async with running(parts) as at, grpc.aio.insecure_channel(at) as slow, grpc.aio.insecure_channel(at) as other:
        call = predictor_pb2_grpc.PredictorStub(slow).PredictStream()

        async def send() -> None:
            for _ in range(100_000):
                await call.write(pb.PredictRequest(person_id="p1"))

        sending = asyncio.create_task(send())
        seen = -1
        while len(reader.reads) != seen:
            seen = len(reader.reads)
            await asyncio.sleep(0.5)  # long enough for hundreds, were they still read
        assert seen < 50_000
        response = await predictor_pb2_grpc.PredictorStub(other).Predict(pb.PredictRequest(person_id="p1"))
        assert response.level
        sending.cancel()
        call.cancel()
        await asyncio.gather(sending, return_exceptions=True)
