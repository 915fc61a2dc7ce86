"""The gRPC side that the naive stack and the Feast stack share: features of persons, `Booster.predict`, our messages.

Written as one who knows the parts well would write it: uvloop, one matrix and one call of the model for a batch.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grpc
import numpy as np
from lightgbm import Booster

from benchmarks.rivals.process import until_told_to_stop
from protos.habitus.v1 import predictor_pb2 as pb
from protos.habitus.v1 import predictor_pb2_grpc

_NO_SUCH_PERSON = 5  # google.rpc.Code.NOT_FOUND


class Stored(NamedTuple):
    """What a feature store has of a person."""

    values: Sequence[Any]
    event_timestamp: datetime


class FeatureStore(Protocol):
    """Where features come from."""

    async def read(self, person_ids: Sequence[str]) -> list[Stored | None]:
        """What is stored of each person, the model's features in the order of its columns."""
        ...


class Model:
    """The booster in `folder`, its columns and levels."""

    def __init__(self, folder: Path) -> None:
        described = json.loads((folder / "columns.json").read_text())
        self.version: str = described["version"]
        self.features = [name for name, _ in described["columns"]]
        self._levels: list[str] = described["levels"]
        self._codes: list[Mapping[str, float]] = [
            {category: float(code) for code, category in enumerate(categories)} for _, categories in described["columns"]
        ]
        self._booster = Booster(model_file=folder / "model.txt")

    def score(self, rows: Sequence[Stored]) -> list[pb.PredictResponse]:
        """The answers of n rows, without their request ids."""
        matrix = np.array([[*map(_number, row.values, self._codes)] for row in rows], dtype=np.float64)
        return [self._answer(row, found) for row, found in zip(rows, self._booster.predict(matrix, num_threads=1), strict=True)]

    def _answer(self, row: Stored, probabilities: Any) -> pb.PredictResponse:
        answer = pb.PredictResponse(
            level=self._levels[int(probabilities.argmax())],
            probabilities=dict(zip(self._levels, probabilities.tolist(), strict=True)),
            model=pb.ModelInfo(name="obesity-level", version=self.version, alias="champion"),
        )
        answer.features.event_timestamp.FromDatetime(row.event_timestamp)
        return answer


def _number(value: Any, codes: Mapping[str, float]) -> float:
    if value is None:
        return float("nan")
    return codes.get(value, float("nan")) if codes else float(value)


class Front(predictor_pb2_grpc.PredictorServicer):
    """Answers by features of `store` and `model`."""

    def __init__(self, store: FeatureStore, model: Model) -> None:
        self._store = store
        self._model = model

    async def Predict(self, request: pb.PredictRequest, context: grpc.aio.ServicerContext) -> pb.PredictResponse:  # noqa: N802
        """The answer for one person."""
        (stored,) = await self._store.read([request.person_id])
        if stored is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{request.person_id} is not known")
        assert stored is not None  # abort raises
        (answer,) = self._model.score([stored])
        answer.request_id = request.request_id
        return answer

    async def PredictBatch(  # noqa: N802
        self,
        request: pb.PredictBatchRequest,
        context: grpc.aio.ServicerContext,  # noqa: ARG002
    ) -> pb.PredictBatchResponse:
        """The answers for many persons."""
        stored = await self._store.read([each.person_id for each in request.requests])
        answers = iter(self._model.score([row for row in stored if row is not None]))
        response = pb.PredictBatchResponse()
        for asked, row in zip(request.requests, stored, strict=True):
            if row is None:
                response.results.add().error.code = _NO_SUCH_PERSON
                continue
            answer = response.results.add().response
            answer.CopyFrom(next(answers))
            answer.request_id = asked.request_id
        return response


async def serve(address: str, front: Front) -> None:
    """Serve until a signal asks to stop."""
    server = grpc.aio.server()
    predictor_pb2_grpc.add_PredictorServicer_to_server(front, server)  # type: ignore[no-untyped-call]
    server.add_insecure_port(address)
    await server.start()
    await until_told_to_stop()
    await server.stop(0)
