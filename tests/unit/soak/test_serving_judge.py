"""The judge of the soak of serving: whoever it lets pass would pass for twenty minutes."""

import time
from typing import Any

import grpc
import numpy as np
import pytest

from benchmarks.serving.asking import compare
from benchmarks.serving.h2load import WrongAnswers
from feature_repo.labels import LEVELS
from protos.habitus.v1 import predictor_pb2 as pb
from tests.soak.serving_load import Load
from tests.soak.serving_truth import Truth

GIVEN = np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1])
OTHER = np.array([0.1, 0.4, 0.1, 0.1, 0.1, 0.1, 0.1])


@pytest.fixture
def truth() -> Truth:
    """Two versions; p1 has had two rows, p2 one."""
    expected = {(version, offset): given for version, given in (("1", GIVEN), ("2", OTHER)) for offset in (0, 1, 2)}
    return Truth(pipelines={}, expected=expected, owners={0: "p1", 1: "p2", 2: "p1"})


def answer(probabilities: Any = GIVEN, *, version: str = "1", offset: int = 2, level: str = LEVELS[0]) -> pb.PredictResponse:
    return pb.PredictResponse(
        level=level,
        probabilities=dict(zip(LEVELS, probabilities, strict=True)),
        model=pb.ModelInfo(version=version),
        features=pb.FeatureInfo(source_offset=offset),
    )


def test_the_answer_of_the_named_version_on_the_stored_row_is_right(truth: Truth) -> None:
    assert truth.fault("p1", answer(), since=2) == ""
    assert truth.fault("p1", answer(OTHER, version="2", level=LEVELS[1]), since=0) == ""


@pytest.mark.parametrize(
    ("wrong", "since"),
    [
        (answer(GIVEN + 1e-11), 0),
        (answer(OTHER, level=LEVELS[1]), 0),
        (answer(version="3"), 0),
        (answer(offset=1), 0),
        (answer(offset=9), 0),
        (answer(offset=0), 2),
        (answer(level=LEVELS[1]), 0),
        (pb.PredictResponse(), 0),
    ],
    ids=[
        "a probability differs",
        "another version's",
        "an unknown version",
        "another person's row",
        "no row",
        "an older row than was stored",
        "not the likeliest level",
        "empty",
    ],
)
def test_any_other_answer_is_wrong(truth: Truth, wrong: pb.PredictResponse, since: int) -> None:
    assert truth.fault("p1", wrong, since)


class Stub:
    """A predictor that does what it is told."""

    def __init__(self, outcome: pb.PredictResponse | grpc.aio.AioRpcError) -> None:
        self._outcome = outcome

    async def Predict(self, *_: Any, **__: Any) -> pb.PredictResponse:  # noqa: N802  the protocol's names
        if isinstance(self._outcome, grpc.aio.AioRpcError):
            raise self._outcome
        return self._outcome

    async def PredictBatch(self, request: pb.PredictBatchRequest, **__: Any) -> pb.PredictBatchResponse:  # noqa: N802
        result = pb.PredictResult(response=await self.Predict())
        return pb.PredictBatchResponse(results=[result] * (len(request.requests) - 1))


def error(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


async def faults(truth: Truth, outcome: Any, kind: str, *, gone: bool = False) -> int:
    """How many faults one request of `kind` is found to have."""
    persons = ["p1"] * 10
    load = Load(Stub(outcome), truth, persons, lambda since: gone and since <= time.monotonic(), stored={"p1": 0})
    load.random.choices = lambda *_: [kind]  # type: ignore[method-assign, assignment]
    await load.ask()
    return load.book.wrong


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("unknown", grpc.StatusCode.NOT_FOUND),
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT),
        ("stale", grpc.StatusCode.FAILED_PRECONDITION),
        ("known", grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
async def test_promised_codes_are_no_fault(truth: Truth, kind: str, code: grpc.StatusCode) -> None:
    assert await faults(truth, error(code), kind) == 0


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code.name not in {"OK", "RESOURCE_EXHAUSTED"}])
async def test_any_other_code_is_a_fault(truth: Truth, code: grpc.StatusCode) -> None:
    assert await faults(truth, error(code), "known") == 1


async def test_unavailable_is_promised_only_while_the_store_is_gone(truth: Truth) -> None:
    gone = error(grpc.StatusCode.UNAVAILABLE)
    assert (await faults(truth, gone, "known", gone=True), await faults(truth, gone, "known")) == (0, 1)


@pytest.mark.parametrize("kind", ["unknown", "invalid", "stale"])
async def test_an_answer_where_an_error_is_due_is_a_fault(truth: Truth, kind: str) -> None:
    assert await faults(truth, answer(), kind) == 1


async def test_a_batch_that_lacks_a_result_is_a_fault(truth: Truth) -> None:
    assert await faults(truth, answer(), "batch") == 1


def test_the_benchmark_refuses_answers_that_are_not_the_models() -> None:
    compare("p1", answer(), GIVEN)
    for wrong in (answer(GIVEN + 1e-11), answer(level=LEVELS[3]), pb.PredictResponse()):
        with pytest.raises(WrongAnswers):
            compare("p1", wrong, GIVEN)
