"""Models in MLflow: a candidate becomes a run and a registered version with all its evidence; a version becomes a pipeline again.

The files are in the skops format, which loads without executing code that the file brings.
"""

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.metadata import version as installed
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import mlflow.sklearn
import pandas as pd
from matplotlib.figure import Figure
from mlflow import MlflowClient
from mlflow.data.sources import LocalArtifactDatasetSource, S3ArtifactDatasetSource
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.pipeline import Pipeline

from feature_repo.labels import LEVELS
from feature_repo.latest import IDENTITY
from feature_repo.model_input import as_model_input
from feature_repo.person import ATTRIBUTES
from feature_repo.reference import OUT_OF_FOLD, ROWS
from runtime.errors import InfrastructureError, Unavailable
from runtime.registry import REFERENCE_FOLDER, ModelVersion, Registry
from runtime.settings import Settings
from trainer.candidate import Candidate, tags
from trainer.pipeline import features_of
from trainer.training_set import LEVEL

_TRUSTED_TYPES = ["collections.OrderedDict", "lightgbm.basic.Booster", "lightgbm.sklearn.LGBMClassifier"]
# Given, because MLflow needs half a minute to find them out.
_REQUIREMENTS = [f"{name}=={installed(name)}" for name in ("lightgbm", "mlflow", "numpy", "pandas", "scikit-learn", "skops")]
_EXAMPLE_ROWS = 3


class ModelStore:
    """The models of the registry; every call raises `Unavailable` if MLflow does not answer."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._uri = settings.mlflow_uri
        self._history = _source_of(settings.offline)
        self._registry = registry

    def register(self, candidate: Candidate, facts: dict[str, str]) -> ModelVersion:
        """Log the candidate as a run and register its model, `reference/` included, tagged with its scores and `facts`.

        The version appears last: one that is seen in the registry is complete.
        """
        with self._answering():
            mlflow.set_experiment(self._registry.name)
            with mlflow.start_run() as run:
                self._log_evidence(candidate)
                model_id = self._log_model(candidate)
            client = MlflowClient()
            _make_sure_it_exists(client, self._registry.name)
            made = client.create_model_version(
                self._registry.name,
                source=f"models:/{model_id}",
                run_id=run.info.run_id,
                model_id=model_id,
                tags=tags(candidate) | facts,
            )
        registered = self._registry.by_version(str(made.version))
        if registered is None:
            raise InfrastructureError(f"version {made.version} was registered and is not there")
        return registered

    def load(self, version: ModelVersion) -> Pipeline:
        """The fitted pipeline of a registered version."""
        with self._answering():
            pipeline: Pipeline = mlflow.sklearn.load_model(version.uri)
        return pipeline

    def _log_evidence(self, candidate: Candidate) -> None:
        mlflow.log_params(candidate.params())
        mlflow.log_metrics(metrics(candidate))
        mlflow.log_figure(confusion_picture(candidate), "confusion_matrix.png")
        mlflow.log_table(pd.DataFrame(candidate.slice_scores()), "slices.json")
        for rows, context in ((candidate.trained_on, "training"), (candidate.gate_rows, "gate")):
            mlflow.log_input(self._dataset(candidate, rows, context), context=context)

    def _dataset(self, candidate: Candidate, rows: pd.DataFrame, context: str) -> mlflow.data.dataset.Dataset:
        frame = as_model_input(rows, candidate.recipe.features).assign(**{LEVEL: rows[LEVEL].to_numpy()})
        name = f"person_features {context} as of {candidate.as_of:%Y-%m-%dT%H:%M:%SZ}"
        return mlflow.data.from_pandas(frame, source=self._history, targets=LEVEL, name=name)

    def _log_model(self, candidate: Candidate) -> str:
        example = as_model_input(candidate.gate_rows.head(_EXAMPLE_ROWS), features_of(candidate.pipeline))
        logged = mlflow.sklearn.log_model(
            candidate.pipeline,
            name="model",
            signature=infer_signature(example, list(candidate.pipeline.predict(example))),
            input_example=example,
            pip_requirements=_REQUIREMENTS,
            serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_SKOPS,
            skops_trusted_types=_TRUSTED_TYPES,
        )
        with TemporaryDirectory(prefix="habitus-reference-") as folder:
            save_reference(candidate, Path(folder))
            MlflowClient().log_model_artifacts(logged.model_id, folder, REFERENCE_FOLDER)
        return str(logged.model_id)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """MLflow at our address; what it prints about runs is dropped, because standard output is the caller's."""
        mlflow.set_tracking_uri(self._uri)
        mlflow.set_registry_uri(self._uri)
        try:
            with redirect_stdout(StringIO()):
                yield
        except (MlflowException, OSError) as error:
            raise Unavailable("mlflow", f"{self._uri} does not answer as it should ({error})") from error


def save_reference(candidate: Candidate, folder: Path) -> None:
    """Write the monitoring reference: the bins and counts, the rows they count, and out-of-fold predictions for the same rows."""
    candidate.reference.save(folder)
    candidate.out_of_fold.to_parquet(folder / OUT_OF_FOLD)
    rows = candidate.reference_rows
    attributes = as_model_input(rows, ATTRIBUTES)
    pd.concat([rows[[*IDENTITY, LEVEL]].reset_index(drop=True), attributes], axis=1).to_parquet(folder / ROWS)


def metrics(candidate: Candidate) -> dict[str, float]:
    """Cross-validation means with errors, gate scores with errors, gate scores by slice, under MLflow's naming rules."""
    found = {}
    for score in candidate.validation.fold_scores[0].keys() - {"rows"}:
        found[f"cv_{score}"] = candidate.validation.mean(score)
        found[f"cv_{score}_se"] = candidate.validation.standard_error(score)
    found |= {f"gate_{name}": value for name, value in candidate.gate_scores().items()}
    for row in candidate.slice_scores():
        place = str(row["slice"]).replace("=", "_").replace("+", "_or_more")
        found |= {f"slices/{place}/{score}": row[score] for score in ("rows", "accuracy", "log_loss")}
    return found


def confusion_picture(candidate: Candidate) -> Figure:
    """The confusion matrix of the gate rows, each row of levels in shares."""
    guesses = [LEVELS[position] for position in candidate.gate_probabilities.argmax(axis=1)]
    figure = Figure(figsize=(8, 7), layout="constrained")
    axes = figure.subplots()
    ConfusionMatrixDisplay.from_predictions(
        list(candidate.gate_rows[LEVEL]),
        guesses,
        labels=list(LEVELS),
        normalize="true",
        values_format=".2f",
        xticks_rotation="vertical",
        ax=axes,
        colorbar=False,
    )
    axes.set_title(f"{len(guesses)} gate rows")
    return figure


def _make_sure_it_exists(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _source_of(offline: str) -> LocalArtifactDatasetSource | S3ArtifactDatasetSource:
    return S3ArtifactDatasetSource(offline) if "://" in offline else LocalArtifactDatasetSource(Path(offline).as_uri())
