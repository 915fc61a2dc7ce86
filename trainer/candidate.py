"""A trained model with all the evidence that goes into the registry with it.

Place in the flow: handlers train one, `adapters/model_store.py` registers it, `decide.py` judges it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from feature_repo.reference import Reference, build_reference
from feature_repo.scores import row_log_loss
from runtime.errors import NotEnoughData
from trainer.evaluation import by_slice, with_errors
from trainer.pipeline import FAMILY, Floats, Recipe, fit, probabilities
from trainer.recency import Recency, is_recent, name_of, validate, weighted
from trainer.training_set import LEVEL, TrainingSet, level_counts
from trainer.validation import CrossValidation, Effort, cross_validate, out_of_fold_frame, stratified


@dataclass(frozen=True)
class Candidate:
    """A fitted pipeline, the rows behind it, what cross-validation and the gate rows said, and its monitoring reference.

    `reference_rows` are the rows that the reference counts; `out_of_fold` holds predictions for the same rows.
    """

    pipeline: Pipeline
    recipe: Recipe
    as_of: datetime
    trained_on: pd.DataFrame
    validation: CrossValidation
    gate_rows: pd.DataFrame
    gate_probabilities: Floats
    reference: Reference
    reference_rows: pd.DataFrame
    out_of_fold: pd.DataFrame
    facts: Mapping[str, Any] = field(default_factory=dict)

    def gate_losses(self) -> Floats:
        """Each gate row's log loss."""
        return row_log_loss(list(self.gate_rows[LEVEL]), self.gate_probabilities)

    def gate_scores(self) -> dict[str, float]:
        """Scores of the gate rows with standard errors."""
        return with_errors(list(self.gate_rows[LEVEL]), self.gate_probabilities)

    def slice_scores(self) -> list[dict[str, Any]]:
        """Scores of the gate rows by slice."""
        return by_slice(self.gate_rows, self.gate_probabilities)

    def params(self) -> dict[str, Any]:
        """What decides the model, and what went into it."""
        counts = {f"rows_{level}": count for level, count in level_counts(list(self.trained_on[LEVEL])).items()}
        sizes = {"rows": len(self.trained_on), "gate_rows": len(self.gate_rows), "folds": len(self.validation.fold_scores)}
        return self.recipe.params() | sizes | counts | {"as_of": self.as_of.isoformat()} | dict(self.facts)


def from_history(data: TrainingSet, recipe: Recipe, effort: Effort) -> Candidate:
    """A candidate of all training rows alike, cross-validated over stratified folds."""
    rows = data.training()
    validation = cross_validate(rows, recipe, stratified(rows, effort.folds, recipe.seed), effort)
    trained = _Trained(fit(rows, recipe), rows, rows, validation, out_of_fold_frame(rows, validation))
    return _with_evidence(trained, recipe, data, None, {})


def from_drift(data: TrainingSet, since: datetime, recency: Recency, recipe: Recipe, effort: Effort) -> Candidate:
    """A candidate whose rows since a drift weigh as `recency` chose.

    Its reference and gate rows are those since the drift: it is compared with what it meets from now on.
    """
    rows = data.training()
    used, weights = weighted(rows, since, recency.weight)
    validation = validate(used, weights, since, recipe, effort)
    recent = rows[is_recent(rows, since)].reset_index(drop=True)
    trained = _Trained(fit(used, recipe, weights), used, recent, validation, out_of_fold_frame(used, validation))
    facts = {"recent_since": since.isoformat(), "recent_rows": len(recent), "recent_weight": name_of(recency.weight)}
    return _with_evidence(trained, recipe, data, since, facts)


@dataclass(frozen=True)
class _Trained:
    pipeline: Pipeline
    trained_on: pd.DataFrame
    reference_rows: pd.DataFrame
    validation: CrossValidation
    out_of_fold: pd.DataFrame


def _with_evidence(
    trained: _Trained, recipe: Recipe, data: TrainingSet, since: datetime | None, facts: Mapping[str, Any]
) -> Candidate:
    """Raises `NotEnoughData` if there is no gate row to score."""
    gate = data.gate(since)
    if gate.empty:
        raise NotEnoughData(
            "no labelled row belongs to a gate person (one person in ten)", remedy="publish records and labels of more persons"
        )
    rows = trained.reference_rows
    return Candidate(
        **vars(trained),
        recipe=recipe,
        as_of=data.as_of,
        gate_rows=gate,
        gate_probabilities=probabilities(trained.pipeline, gate),
        reference=build_reference(rows, rows[LEVEL], rows["event_timestamp"]),
        facts={"labels_without_features": data.labels_without_features, **facts},
    )


def tags(candidate: Candidate) -> dict[str, str]:
    """The version's tags: what `habitus models` and the predictor read without opening the run."""
    scores = candidate.gate_scores()
    numbers = {name: f"{scores[name]:.6f}" for name in ("accuracy", "macro_f1", "log_loss")}
    rows = {"rows": str(len(candidate.trained_on)), "gate_rows": str(len(candidate.gate_rows))}
    return {**numbers, **rows, "family": FAMILY, "as_of": candidate.as_of.isoformat()}
