"""An asynchronous client that keeps a constant rate, whatever the answers, and judges every one of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc
from tests.soak.serving_truth import Truth

TIMEOUT_S = 15.0
MOST_AT_ONCE = 1_000  # what is due beyond that is held back: the client is no endless queue
BATCH = 10
_TICK_S = 0.005
_FAULTS_KEPT = 10
# Of a hundred requests so many are of each kind; the first gets what is left.
_KINDS = (("known", 90), ("batch", 4), ("unknown", 2), ("invalid", 2), ("stale", 2))
_CODES = {
    "unknown": grpc.StatusCode.NOT_FOUND,
    "invalid": grpc.StatusCode.INVALID_ARGUMENT,
    "stale": grpc.StatusCode.FAILED_PRECONDITION,
}
_STATUS_BY_NUMBER = {status.value[0]: status for status in grpc.StatusCode}
# What any request may get; UNAVAILABLE is promised only while the store is gone or comes back.
_OVERLOAD = grpc.StatusCode.RESOURCE_EXHAUSTED


@dataclass
class Book:
    """What happened: answers by kind of request and code, faults, and the version that answered last."""

    codes: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    wrong: int = 0
    latest: str = ""
    held_back: int = 0

    def blame(self, fault: str) -> None:
        """Note a fault; the first ones word by word."""
        self.wrong += 1
        if len(self.faults) < _FAULTS_KEPT:
            self.faults.append(fault)


@dataclass
class Load:
    """Requests about `persons` over a channel. `store_may_be_gone(since)`: whether it was, at any time from `since` to now."""

    stub: Any
    truth: Truth
    persons: Sequence[str]
    store_may_be_gone: Callable[[float], bool]
    book: Book = field(default_factory=Book)
    stored: dict[str, int] = field(default_factory=dict)
    random: Random = field(default_factory=lambda: Random(3))  # noqa: S311  no secret

    async def keep(self, rate_per_s: float, until: asyncio.Event) -> None:
        """Ask `rate_per_s` times a second until `until`, then wait for what is on its way."""
        flying: set[asyncio.Task[None]] = set()
        started, sent = time.monotonic(), 0
        while not until.is_set():
            due = int((time.monotonic() - started) * rate_per_s)
            for _ in range(due - sent):
                if len(flying) >= MOST_AT_ONCE:
                    self.book.held_back += 1
                    continue
                task = asyncio.create_task(self.ask())
                flying.add(task)
                task.add_done_callback(flying.discard)
            sent = due
            await asyncio.sleep(_TICK_S)
        await asyncio.gather(*flying)

    async def crowd(self, size: int, seconds: float) -> float:
        """`size` askers who each wait for their answer; returns how many requests a second they made."""
        deadline = time.monotonic() + seconds

        async def asker() -> int:
            asked = 0
            while time.monotonic() < deadline:
                await self.ask()
                asked += 1
            return asked

        return sum(await asyncio.gather(*(asker() for _ in range(size)))) / seconds

    async def ask(self) -> None:
        """One request of a random kind, judged."""
        (kind,) = self.random.choices([kind for kind, _ in _KINDS], [share for _, share in _KINDS])
        persons = self.random.sample(self.persons, BATCH if kind == "batch" else 1)
        known = [self.stored[person_id] for person_id in persons]
        began = time.monotonic()
        try:
            results = await self._send(kind, persons)
        except grpc.aio.AioRpcError as error:
            self._judge_code(kind, began, error.code(), error.details() or "")
        else:
            self._judge(kind, began, list(zip(persons, known, strict=True)), results)

    async def _send(self, kind: str, persons: Sequence[str]) -> Sequence[pb.PredictResult]:
        match kind:
            case "batch":
                asked = pb.PredictBatchRequest(requests=[pb.PredictRequest(person_id=each) for each in persons])
                batch = await self.stub.PredictBatch(asked, timeout=TIMEOUT_S)
                return list(batch.results)
            case "unknown":
                request = pb.PredictRequest(person_id=f"nobody-{persons[0]}")
            case "invalid":
                request = pb.PredictRequest(person_id="no person's id!")
            case "stale":
                request = pb.PredictRequest(person_id=persons[0], max_feature_age=Duration(nanos=1_000))
            case _:
                request = pb.PredictRequest(person_id=persons[0])
        return [pb.PredictResult(response=await self.stub.Predict(request, timeout=TIMEOUT_S))]

    def _judge(self, kind: str, began: float, asked: Sequence[tuple[str, int]], results: Sequence[pb.PredictResult]) -> None:
        if kind in _CODES or len(results) != len(asked):
            self.book.blame(f"{kind}: {len(results)} answers about {asked}")
        for (person_id, since), result in zip(asked, results, strict=False):
            if result.HasField("error"):
                self._judge_code(kind, began, _STATUS_BY_NUMBER[result.error.code], result.error.message)
                continue
            self.book.codes[kind, "OK"] += 1
            if fault := self.truth.fault(person_id, result.response, since):
                self.book.blame(fault)
            self.book.latest = result.response.model.version

    def _judge_code(self, kind: str, began: float, code: grpc.StatusCode, details: str) -> None:
        self.book.codes[kind, code.name] += 1
        promised = {_CODES.get(kind), _OVERLOAD}
        if self.store_may_be_gone(began):
            promised.add(grpc.StatusCode.UNAVAILABLE)
        if code not in promised:
            self.book.blame(f"{kind}: {code.name} ({details}) after {time.monotonic() - began:.2f} s")


def stub_of(channel: grpc.aio.Channel) -> Any:
    """The stub of a channel."""
    return predictor_pb2_grpc.PredictorStub(channel)  # type: ignore[no-untyped-call]
