"""What the trainer does, in order.

| what comes | what happens |
| --- | --- |
| `TrainModel` (an operator's command) | `train`: a model of all that was known, judged on all gate rows |
| `DriftAlert` (from the monitor) | `retrain`: a model that leans on rows since the drift, judged on gate rows since the drift |

Nothing here knows Feast, MLflow or Kafka.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

import pandas as pd
from loguru import logger
from sklearn.pipeline import Pipeline

from feature_repo.gate import is_gate
from feature_repo.scores import row_log_loss, scores
from runtime.clock import Clock
from runtime.errors import NotEnoughData
from runtime.events import DriftAlert
from runtime.registry import Alias, ModelVersion
from trainer.candidate import Candidate, from_drift, from_history
from trainer.decide import Decision, first_model, judge
from trainer.pipeline import FEATURE_SETS, Recipe, probabilities
from trainer.promote import DECISION_TAG, Aliases, Promotion
from trainer.recency import choose_weight
from trainer.settings import TrainerSettings
from trainer.training_set import LEVEL, TrainingSet, require_enough
from trainer.validation import Effort, Progress, silent
from trainer.waiting import Patience, wait_for_labels

ALERT_TAG = "alert_id"


class TrainingHistory(Protocol):
    """Labels and features as they were known at a time."""

    def labels(self, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:
        """The labels known at `as_of`, of event times from `since` on."""
        ...

    def training_set(self, as_of: datetime) -> TrainingSet:
        """Labels joined with features. Raises `NotEnoughData` if there is nothing to join."""
        ...


class Models(Protocol):
    """Where models are kept."""

    def register(self, candidate: Candidate, facts: dict[str, str]) -> ModelVersion:
        """Keep the candidate as a new version, complete before it is seen. Raises `Unavailable`."""
        ...

    def load(self, version: ModelVersion) -> Pipeline:
        """The pipeline of a version. Raises `Unavailable`."""
        ...


class Versions(Aliases, Protocol):
    """The registry as handlers read it."""

    def versions(self) -> list[ModelVersion]:
        """All versions, newest first."""
        ...


@dataclass(frozen=True)
class Workshop:
    """All that the handlers work with."""

    settings: TrainerSettings
    history: TrainingHistory
    models: Models
    registry: Versions
    promotion: Promotion
    clock: Clock
    progress: Progress = silent
    wait: Callable[[Callable[[], int], Patience], int] = wait_for_labels


@dataclass(frozen=True)
class TrainModel:
    """Train on what was known at `as_of`, with so many folds, on a feature set of `pipeline.FEATURE_SETS`."""

    as_of: datetime
    folds: int
    features: str


@dataclass(frozen=True)
class Trained:
    """A registered version, the candidate behind it, and what the gate decided."""

    version: ModelVersion
    candidate: Candidate
    decision: Decision


def train(command: TrainModel, shop: Workshop) -> Trained:
    """Train on all training rows, register, judge, promote or reject.

    Raises `NotEnoughData` (then nothing was registered) or `Unavailable`; either way the champion is untouched.
    """
    # MLflow is asked first: without it training would be in vain.
    champion = shop.registry.by_alias(Alias.CHAMPION)
    data = shop.history.training_set(command.as_of)
    require_enough(data.training(), least=shop.settings.trainer_min_rows, folds=command.folds)
    effort = Effort(command.folds, shop.settings.trainer_workers, shop.progress)
    candidate = from_history(data, _recipe(command.features, shop.settings), effort)
    return _contend(candidate, champion, shop, {}, {})


def retrain(alert: DriftAlert, shop: Workshop) -> Trained | None:
    """Answer a drift alert with a challenger; None if there is nothing to do, or too little to do it with (both are logged).

    An alert that comes twice, or speaks of a model that is no longer champion, trains nothing; a promotion that was cut off is
    finished when its alert comes again.
    """
    champion = shop.registry.by_alias(Alias.CHAMPION)
    if champion is None or not _is_news(alert, champion, shop):
        return None
    try:
        return _answer(alert, champion, shop)
    except NotEnoughData as error:
        logger.bind(alert_id=alert.id, model_version=champion.version).warning("no retraining: {} ({})", error, error.remedy)
        return None


def _answer(alert: DriftAlert, champion: ModelVersion, shop: Workshop) -> Trained:
    settings, since = shop.settings, alert.window_from
    patience = Patience(settings.trainer_min_recent_labels, settings.trainer_settle_s, settings.trainer_label_deadline_s)
    shop.wait(lambda: _recent_labels(shop, since), patience)
    data = shop.history.training_set(shop.clock.now())
    rows = data.training()
    require_enough(rows, least=settings.trainer_min_rows, folds=settings.trainer_recent_folds)
    recipe = _recipe(settings.trainer_features, settings)
    effort = Effort(settings.trainer_recent_folds, settings.trainer_workers, shop.progress)
    recency = choose_weight(rows, since, recipe, effort)
    candidate = from_drift(data, since, recency, recipe, effort)
    evidence = {"alert_id": alert.id, "window_from": since.isoformat(), "recent_weight": recency.record()}
    return _contend(candidate, champion, shop, evidence, {ALERT_TAG: alert.id})


def _is_news(alert: DriftAlert, champion: ModelVersion, shop: Workshop) -> bool:
    log = logger.bind(alert_id=alert.id, model_version=alert.model_version, champion=champion.version)
    if champion.tags.get(ALERT_TAG) == alert.id:
        log.info("the champion is the answer to this alert; announced again")
        shop.promotion.announce_again(champion)
        return False
    answers = [each for each in shop.registry.versions() if each.tags.get(ALERT_TAG) == alert.id and DECISION_TAG in each.tags]
    for version in filter(shop.promotion.is_unfinished, answers):
        log.bind(answer=version.version).info("the promotion of the answer was cut off; it is finished now")
        shop.promotion.finish(version)
        return False
    if champion.version != alert.model_version:
        log.info("the alert speaks of a model that is no longer champion")
        return False
    if answers:
        log.info("the alert was answered before")
        return False
    return True


def _contend(
    candidate: Candidate, champion: ModelVersion | None, shop: Workshop, evidence: dict[str, Any], facts: dict[str, str]
) -> Trained:
    """Judge first, register then: a version that can be seen has everything but its aliases and its decision."""
    decision = _decide(candidate, champion, shop)
    full = replace(decision, evidence=decision.evidence | evidence)
    version = shop.models.register(candidate, facts)
    shop.promotion.challenge(version)
    return Trained(version, candidate, shop.promotion.settle(version, full))


def _decide(candidate: Candidate, champion: ModelVersion | None, shop: Workshop) -> Decision:
    rows = candidate.gate_rows
    if champion is None:
        return replace(first_model(len(rows)), evidence={"challenger_scores": candidate.gate_scores()})
    levels = list(rows[LEVEL])
    theirs = probabilities(shop.models.load(champion), rows)
    decision = judge(
        row_log_loss(levels, theirs),
        candidate.gate_losses(),
        list(rows["person_id"]),
        champion_version=champion.version,
        significance=shop.settings.trainer_significance,
        least_persons=shop.settings.trainer_min_gate_persons,
    )
    both = {"champion_scores": scores(levels, theirs), "challenger_scores": candidate.gate_scores()}
    return replace(decision, evidence=both)


def _recent_labels(shop: Workshop, since: datetime) -> int:
    """Labels since the drift that may be trained on."""
    persons = shop.history.labels(shop.clock.now(), since)["person_id"]
    return int((~is_gate(persons)).sum())


def _recipe(features: str, settings: TrainerSettings) -> Recipe:
    return Recipe(features=FEATURE_SETS[features], seed=settings.trainer_seed)
