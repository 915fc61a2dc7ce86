"""The middle: the first model from the feature store, and its answers over gRPC, compared with MLflow's own copy."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import grpc
import numpy as np
import pandas as pd

from feature_repo.gate import person_hash
from feature_repo.labels import LEVELS
from feature_repo.model_input import as_model_input
from habitus.demo.stage import Stage
from habitus.demo.waiting import until
from predictor.settings import PredictorSettings
from protos.habitus.v1.predictor_pb2 import (
    GetVersionRequest,
    GetVersionResponse,
    PredictBatchRequest,
    PredictRequest,
    PredictResponse,
)
from protos.habitus.v1.predictor_pb2_grpc import PredictorStub
from runtime.errors import Unavailable
from runtime.registry import Alias, Registry
from trainer.bootstrap import wire
from trainer.handlers import TrainModel
from trainer.handlers import train as train_model
from trainer.settings import TrainerSettings

T = TypeVar("T")

FOLDS = 5
ASKED = 200  # persons whose predictions are compared
TOLERANCE = 1e-12
_SERVED_WITHIN_S = 90.0
_ANSWER_WITHIN_S = 10.0


def train(stage: Stage) -> None:
    """A point-in-time join of labels with features, cross-validation, gate rows that no model sees, MLflow's registry."""
    settings = TrainerSettings(home=stage.settings.home)
    shop = wire(settings, lambda what, done, of: stage.narrator.wait(f"{what}: {done} of {of}"))
    trained = train_model(TrainModel(datetime.now(UTC), FOLDS, settings.trainer_features), shop)
    validation, gate = trained.candidate.validation, trained.candidate.gate_scores()
    stage.narrator.say(
        f"version {trained.version.version}: accuracy {validation.mean('accuracy'):.4f} ± "
        f"{validation.standard_error('accuracy'):.4f} over {FOLDS} folds of {len(trained.candidate.trained_on):,} rows"
    )
    champion = Registry(settings).by_alias(Alias.CHAMPION)
    crowned = champion is not None and champion.version == trained.version.version
    stage.narrator.check("the first model is champion", held=crowned, evidence=trained.decision.reason)
    share = trained.candidate.gate_rows["obesity_level"].value_counts(normalize=True).max()
    stage.narrator.check(
        "it has learned something about persons it never saw",
        held=gate["accuracy"] > 2 * share,
        evidence=f"accuracy {gate['accuracy']:.4f} on {gate['rows']:,.0f} gate rows, the most frequent level has {share:.4f}",
    )
    stage.versions["first"] = trained.version.version


def predict(stage: Stage) -> None:
    """The predictor reads features by person from Redis; MLflow's copy of the model gets the same rows of the history."""
    served = await_version(stage, stage.versions["first"])
    rows = _chosen(stage)
    answers = ask(stage, rows["person_id"].tolist())
    shown = answers[0]
    stage.narrator.say(
        f"{rows['person_id'].iloc[0]}: {shown.level} ({shown.probabilities[shown.level]:.3f}), model {shown.model.version}, from "
        f"{shown.features.source_topic}[{shown.features.source_partition}]@{shown.features.source_offset}"
    )
    given = np.array([[answer.probabilities[level] for level in LEVELS] for answer in answers])
    expected = _by_mlflow(stage, rows, list(served.inputs))
    difference = float(np.abs(given - expected).max())
    stage.narrator.check(
        "answers over gRPC are those of the model in MLflow",
        held=difference <= TOLERANCE,
        evidence=f"{len(answers)} persons, greatest difference {difference:.1e}",
    )
    origins = [(answer.features.source_partition, answer.features.source_offset) for answer in answers]
    traced = origins == list(zip(rows["source_partition"], rows["source_offset"], strict=True))
    stage.narrator.check("each answer names the record behind its features", held=traced, evidence="topic, partition and offset")


def await_version(stage: Stage, version: str) -> GetVersionResponse:
    """What the predictor says of itself as soon as it serves `version`."""

    def served() -> GetVersionResponse | None:
        with _channel(stage) as channel:
            found = _answered(lambda: _stub(channel).GetVersion(GetVersionRequest(), timeout=_ANSWER_WITHIN_S))
        return found if found.model.version == version else None

    return until(stage.narrator, f"the predictor to serve version {version}", served, deadline_s=_SERVED_WITHIN_S)


def _chosen(stage: Stage) -> pd.DataFrame:
    """The newest history row of some persons, chosen by a hash of their names."""
    history = stage.features().scan().to_pandas()
    newest = history.sort_values(["event_timestamp", "source_offset"]).drop_duplicates("person_id", keep="last")
    places = newest["person_id"].map(person_hash).sort_values().index
    chosen: pd.DataFrame = newest.loc[places[:ASKED]].reset_index(drop=True)
    return chosen


def ask(stage: Stage, persons: list[str]) -> list[PredictResponse]:
    """The predictor's answers for `persons`, in their order. Raises `Unavailable`."""
    batch = PredictBatchRequest(requests=[PredictRequest(person_id=person) for person in persons])
    with _channel(stage) as channel:
        results = _answered(lambda: _stub(channel).PredictBatch(batch, timeout=_ANSWER_WITHIN_S)).results
    return [result.response for result in results]


def _by_mlflow(stage: Stage, rows: pd.DataFrame, inputs: list[str]) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    import mlflow.sklearn

    registry = Registry(stage.settings)
    version = registry.by_version(stage.versions["first"])
    assert version is not None, "the version was registered two steps ago"
    folder = registry.download(version, stage.settings.home / "demo" / "model")
    model = mlflow.sklearn.load_model(str(folder))
    columns = [list(model.classes_).index(level) for level in LEVELS]
    found: np.ndarray[tuple[int, int], np.dtype[np.float64]] = model.predict_proba(as_model_input(rows, inputs))[:, columns]
    return found


def _channel(stage: Stage) -> grpc.Channel:
    return grpc.insecure_channel(PredictorSettings(home=stage.settings.home).predictor_address)


def _stub(channel: grpc.Channel) -> PredictorStub:
    return PredictorStub(channel)  # type: ignore[no-untyped-call]  # generated code has no types


def _answered(call: Callable[[], T]) -> T:
    """What `call` returns. Raises `Unavailable` for any gRPC error, so that it can be waited out."""
    try:
        return call()
    except grpc.RpcError as error:
        raise Unavailable("predictor", f"{error.code().name}: {error.details()}") from error
