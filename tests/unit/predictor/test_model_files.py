"""Models as MLflow keeps them: what loads, what is refused, and what a copy that is touched in the midst of it means."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import mlflow.sklearn
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor

from feature_repo.labels import LEVELS
from predictor.adapters.local_copies import name_of
from predictor.adapters.model_files import COPIES_KEPT, ModelFiles
from runtime.errors import ModelRefused, Unavailable
from runtime.registry import ModelVersion
from tests.fake_registry import HandClock, version

COLUMNS = pd.DataFrame({"weight_kg": np.arange(7.0), "gender": ["Male"] * 7})


class FolderRegistry:
    """Copies the model that lies in `made`."""

    name = "obesity-level"

    def __init__(self, made: Path) -> None:
        self.made = made
        self.downloads = 0
        self.down = False

    def download(self, _: ModelVersion, folder: Path) -> Path:
        if self.down:
            raise Unavailable("mlflow", "gone")
        self.downloads += 1
        shutil.copytree(self.made, folder / "model")
        return folder / "model"

    def save(self, model: Any, frame: Any = COLUMNS) -> None:
        shutil.rmtree(self.made, ignore_errors=True)
        signature = None if frame is None else infer_signature(frame)
        mlflow.sklearn.save_model(
            model, self.made, signature=signature, pip_requirements=["scikit-learn"], serialization_format="cloudpickle"
        )


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    made = FolderRegistry(tmp_path / "made")
    made.save(classifier())
    return made


@pytest.fixture
def files(registry: FolderRegistry, tmp_path: Path, hand_clock: HandClock) -> ModelFiles:
    return ModelFiles(registry, tmp_path / "home", hand_clock)  # type: ignore[arg-type]  # what is used of it


def classifier() -> DummyClassifier:
    return DummyClassifier(strategy="prior").fit(COLUMNS, list(LEVELS))


def test_a_registered_model_is_loaded_with_its_signature(files: ModelFiles):
    model = files.load(version(3))
    assert (model.version, model.inputs) == ("3", ("weight_kg", "gender"))
    assert np.allclose(model.score([{"weight_kg": 70.0, "gender": "Male"}]), 1 / 7)


class Unscored(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Has classes and no probabilities."""

    classes_: Sequence[str] = LEVELS

    def predict(self, frame: pd.DataFrame) -> npt.NDArray[np.object_]:
        return np.array([LEVELS[0]] * len(frame))


@pytest.mark.parametrize(
    ("model", "frame", "why"),
    [
        (classifier(), None, "no signature"),
        (classifier(), np.zeros((7, 2)), "named columns"),
        (classifier(), COLUMNS.assign(shoe_size=1.0), "shoe_size"),
        (classifier(), COLUMNS.assign(weight_kg="70"), "weight_kg as string"),
        (classifier(), COLUMNS.assign(gender=1.0), "gender as double"),
        (DummyRegressor().fit(COLUMNS, np.arange(7)), COLUMNS, "no fitted classifier"),
        (DummyClassifier(), COLUMNS, "no fitted classifier"),
        (Unscored(), COLUMNS, "no fitted classifier"),
    ],
)
def test_what_must_not_serve_is_refused_with_its_reason(
    files: ModelFiles, registry: FolderRegistry, model: Any, frame: Any, why: str
):
    registry.save(model, frame)
    with pytest.raises(ModelRefused, match=why):
        files.load(version(3))


def test_a_model_over_the_limit_of_time_is_refused(registry: FolderRegistry, tmp_path: Path, hand_clock: HandClock):
    """Promise: no model scores a row in a nanosecond, so this limit refuses any; without a limit none is asked for."""
    with pytest.raises(ModelRefused, match="the limit is 1e-06 ms"):
        ModelFiles(registry, tmp_path, hand_clock, row_limit_ms=1e-6).load(version(3))  # type: ignore[arg-type]


def test_files_that_do_not_load_are_refused_and_not_fetched_without_end(files: ModelFiles, registry: FolderRegistry):
    (registry.made / "model.pkl").write_bytes(b"no pickle")
    with pytest.raises(ModelRefused, match="does not load"):
        files.load(version(3))
    assert registry.downloads == 1


def test_a_copy_that_is_taken_away_while_it_loads_says_nothing_about_the_model(
    files: ModelFiles, registry: FolderRegistry, tmp_path: Path
):
    """Promise: another process that tidies cannot make a good model a refused one."""
    copy = tmp_path / "home" / "models" / registry.name / name_of(version(3))
    files.load(version(3))
    loaded, touched = files._loaded, []

    def late(folder: Path, name: str, number: str) -> Any:
        if not touched:
            touched.append(shutil.rmtree(copy))
        return loaded(folder, name, number)

    files._loaded = late  # type: ignore[method-assign]
    assert files.load(version(3)).version == "3"
    assert registry.downloads == 2


def test_the_last_good_model_comes_from_local_files_alone(files: ModelFiles, registry: FolderRegistry):
    assert files.last_good("champion") is None
    files.load(version(3))
    files.keep("champion", version(3))
    registry.down = True
    assert files.last_good("champion").version == "3"


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"folder": "away", "name": "n", "version": "1"}', '{"folder": 3}', "\x00"])
def test_a_note_that_tells_of_no_copy_is_no_model(files: ModelFiles, registry: FolderRegistry, tmp_path: Path, note: str):
    files.load(version(3))
    (tmp_path / "home" / "models" / registry.name / "champion.json").write_text(note)
    assert files.last_good("champion") is None
    files.tidy([version(3)])


def test_a_torn_copy_is_no_last_good_model(files: ModelFiles, registry: FolderRegistry, tmp_path: Path):
    files.load(version(3))
    files.keep("champion", version(3))
    (tmp_path / "home" / "models" / registry.name / name_of(version(3)) / "model.pkl").write_bytes(b"")
    assert files.last_good("champion") is None


def test_tidying_keeps_what_is_in_use_what_was_last_good_and_a_few(
    files: ModelFiles, registry: FolderRegistry, tmp_path: Path, hand_clock: HandClock
):
    for number in range(1, 9):
        files.load(version(number))
        hand_clock.turn(timedelta(minutes=1))
    files.keep("champion", version(1))
    files.tidy([version(2)])
    left = {each.name for each in (tmp_path / "home" / "models" / registry.name).iterdir() if each.is_dir()}
    assert COPIES_KEPT == 3
    assert left == {name_of(version(number)) for number in (1, 2, 6, 7, 8)}
