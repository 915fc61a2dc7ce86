"""The model that every contender serves: trained, judged, registered and promoted by the trainer's own code.

Its rows come from `HABITUS_DATA` (the published ones) where that is set, else from the simulator.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from lightgbm import Booster
from sklearn.pipeline import Pipeline

from feature_repo.materialise import Located, materialise
from feature_repo.model_input import as_model_input
from feature_repo.person import CATEGORIES, parse_record, resolve_time
from habitus.data.identity import DEFAULT_ANCHOR, Stretch, with_identity
from habitus.data.settings import DataSettings
from habitus.data.sources import open_population
from trainer.bootstrap import wire
from trainer.handlers import TrainModel, Workshop, train
from trainer.pipeline import features_of
from trainer.settings import TrainerSettings
from trainer.training_set import LEVEL, TrainingSet

Matrix = npt.NDArray[np.float64]

SOURCE = "train.csv"
_FOLDS = 2  # the least that the trainer takes: how good the model is, is not what is measured here


@dataclass(frozen=True)
class Champion:
    """The registered version, the fitted pipeline, and where its rows came from."""

    version: str
    pipeline: Pipeline
    origin: str


@dataclass(frozen=True)
class _Rows:
    """A training history that is already there."""

    rows: pd.DataFrame
    as_of: datetime

    def labels(self, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:  # noqa: ARG002  one of the protocol
        """The rows, which carry their labels."""
        return self.rows

    def training_set(self, as_of: datetime) -> TrainingSet:
        """All rows."""
        return TrainingSet(self.rows, as_of)


def crown(settings: TrainerSettings) -> Champion:
    """Train on what data there is, register, promote. Takes half a minute to a minute."""
    population = open_population(DataSettings())
    shop = wire(settings)
    rows = _Rows(labelled(population.history), datetime.now(UTC))
    trained = train(TrainModel(rows.as_of, _FOLDS, settings.trainer_features), replace(shop, history=rows))
    return Champion(trained.version.version, _registered(shop, trained.version.version), population.note)


def labelled(published: pd.DataFrame) -> pd.DataFrame:
    """Feature rows with their level, of rows that may name neither person nor time."""
    identified = with_identity(published, SOURCE, Stretch.named("history"), now=DEFAULT_ANCHOR)
    parsed = [parse_record({str(name): value for name, value in row.items()}) for row in identified.to_dict("records")]
    records = [resolve_time(each.record, DEFAULT_ANCHOR) for each in parsed]
    located = [Located(record, "person.records", 0, number, DEFAULT_ANCHOR) for number, record in enumerate(records)]
    rows: pd.DataFrame = materialise(located, {})[0].to_pandas()
    return rows.assign(**{LEVEL: pd.Series([each.level for each in parsed], dtype=object)})


def _registered(shop: Workshop, number: str) -> Pipeline:
    """The pipeline as it comes out of the registry, which is what a server loads."""
    version = shop.registry.versions()[0]
    assert version.version == number
    return shop.models.load(version)


def booster_of(pipeline: Pipeline) -> Booster:
    """The LightGBM model inside."""
    found: Booster = pipeline.named_steps["model"].booster_
    return found


def encoded(pipeline: Pipeline, rows: pd.DataFrame) -> Matrix:
    """Feature rows as the booster's columns."""
    return np.asarray(pipeline.named_steps["columns"].transform(as_model_input(rows, features_of(pipeline))), dtype=np.float64)


def save_for_rivals(champion: Champion, folder: Path) -> None:
    """Write `model.txt`, LightGBM's own format, and `columns.json`: what its columns are and which level each answer is of."""
    booster_of(champion.pipeline).save_model(folder / "model.txt")
    names = list(_columns(features_of(champion.pipeline)))
    described = {
        "version": champion.version,
        "columns": [[name, list(CATEGORIES.get(name, ()))] for name in names],
        "levels": [str(each) for each in champion.pipeline.classes_],
    }
    (folder / "columns.json").write_text(json.dumps(described))


def _columns(features: Iterable[str]) -> Iterable[str]:
    """The features in the order of the booster's columns: the encoder puts categories first."""
    return sorted(features, key=lambda name: name not in CATEGORIES)
