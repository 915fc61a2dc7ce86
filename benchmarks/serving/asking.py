"""One request of gRPC, whatever its method, and whether a contender's answers are those of the model.

A load client sees sizes only. So answers are compared here, with the pipeline that the registry holds on the rows as stored,
before the first measurement and after the last.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

import grpc
import numpy as np
import numpy.typing as npt

from benchmarks.serving.h2load import Call, WrongAnswers
from feature_repo.labels import LEVELS
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.errors import HabitusError

PREDICT = "/habitus.v1.Predictor/Predict"
PREDICT_BATCH = "/habitus.v1.Predictor/PredictBatch"
TOLERANCE = 1e-12
_ANSWERS_WITHIN_S = 120.0
_TIMEOUT_S = 10.0
_LOOK_EVERY_S = 0.2

Floats = npt.NDArray[np.float64]
Verify = Callable[[], None]  # raises `WrongAnswers`


def ask(channel: grpc.Channel, method: str, message: bytes) -> bytes:
    """The serialised answer. Raises `grpc.RpcError`."""
    answer: bytes = channel.unary_unary(method)(message, timeout=_TIMEOUT_S)
    return answer


def sized(address: str, method: str, messages: Iterable[bytes]) -> list[Call]:
    """Calls whose answers' sizes were found by asking; waits for the server to serve."""
    with grpc.insecure_channel(address) as channel:
        asked = list(messages)
        _await_answer(channel, method, asked[0], address)
        return [Call(method, each, len(ask(channel, method, each))) for each in asked]


def _await_answer(channel: grpc.Channel, method: str, message: bytes, address: str) -> None:
    deadline = time.monotonic() + _ANSWERS_WITHIN_S
    reason = ""
    while time.monotonic() < deadline:
        try:
            ask(channel, method, message)
        except grpc.RpcError as error:
            reason = f"{error.code()}: {error.details()}"
            time.sleep(_LOOK_EVERY_S)
        else:
            return
    raise HabitusError(f"{address} did not answer within {_ANSWERS_WITHIN_S:.0f} s ({reason})", remedy="see its log")


def request_for(person_id: str) -> bytes:
    """A request that names itself, so that all answers to it are of one size."""
    return pb.PredictRequest(person_id=person_id, request_id=f"for {person_id}").SerializeToString()


def batch_for(person_ids: Sequence[str]) -> bytes:
    """A batch of such requests."""
    each = [pb.PredictRequest(person_id=person_id, request_id=f"for {person_id}") for person_id in person_ids]
    return pb.PredictBatchRequest(requests=each).SerializeToString()


def require_right(address: str, expected: Mapping[str, Floats]) -> None:
    """Ask for every person of `expected`, alone and in batches, and compare. Raises `WrongAnswers` for the first that differs."""
    with grpc.insecure_channel(address) as channel:
        for person_id, probabilities in expected.items():
            compare(person_id, pb.PredictResponse.FromString(ask(channel, PREDICT, request_for(person_id))), probabilities)
        answer = pb.PredictBatchResponse.FromString(ask(channel, PREDICT_BATCH, batch_for(list(expected))))
        for (person_id, probabilities), result in zip(expected.items(), answer.results, strict=True):
            compare(person_id, result.response, probabilities)


def compare(person_id: str, answer: pb.PredictResponse, expected: Floats) -> None:
    """Raises `WrongAnswers` if the answer's level or one of its probabilities is another than expected."""
    found = np.array([answer.probabilities.get(level, np.nan) for level in LEVELS])
    if not np.abs(found - expected).max() <= TOLERANCE or answer.level != LEVELS[int(expected.argmax())]:
        raise WrongAnswers(f"for {person_id} the model says {expected}, the server {found} ({answer.level or 'no level'})")
