"""The kinds of reports: which rows each compares, and which metrics it shows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pandas as pd
from evidently import DataDefinition, MulticlassClassification
from evidently.metrics import DatasetMissingValueCount, ValueDrift
from evidently.presets import ClassificationPreset, DataDriftPreset, DataSummaryPreset, ValueStats

from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.performance import PROBABILITIES, score
from monitor.reports.sources import CATEGORICAL, NUMERIC, PREDICTION, TARGET, Pair, attribute_rows, level_rows, scored_rows
from monitor.reports.weighted_f1 import WeightedF1


class Kind(StrEnum):
    """The names of the reports."""

    DATA_DRIFT = "data-drift"
    DATA_QUALITY = "data-quality"
    TARGET_DRIFT = "target-drift"
    MODEL_PERFORMANCE = "model-performance"


@dataclass(frozen=True)
class Recipe:
    """How a report is made; `scores` are our own figures, and what is a function of rows looks at the current ones."""

    rows: Callable[[Champion, OfflineHistory, int], Pair]
    metrics: Callable[[pd.DataFrame], Sequence[Any]]
    definition: Callable[[pd.DataFrame], DataDefinition]
    scores: Callable[[pd.DataFrame], dict[str, float]] = lambda _: {}


def _attributes(_: pd.DataFrame) -> DataDefinition:
    return DataDefinition(numerical_columns=list(NUMERIC), categorical_columns=list(CATEGORICAL))


def _levels(current: pd.DataFrame) -> DataDefinition:
    return DataDefinition(categorical_columns=_level_columns(current))


def _classification(_: pd.DataFrame) -> DataDefinition:
    task = MulticlassClassification(target=TARGET, prediction_labels=PREDICTION)
    return DataDefinition(classification=[task], categorical_columns=[TARGET, PREDICTION], numerical_columns=list(PROBABILITIES))


def _level_columns(current: pd.DataFrame) -> list[str]:
    return [name for name in (TARGET, PREDICTION) if name in current]


def _level_metrics(current: pd.DataFrame) -> list[Any]:
    columns = _level_columns(current)
    return [*(ValueDrift(column=name) for name in columns), *(ValueStats(column=name) for name in columns)]


RECIPES: Mapping[Kind, Recipe] = MappingProxyType(
    {
        Kind.DATA_DRIFT: Recipe(attribute_rows, lambda _: [DataDriftPreset()], _attributes),
        Kind.DATA_QUALITY: Recipe(attribute_rows, lambda _: [DatasetMissingValueCount(), DataSummaryPreset()], _attributes),
        Kind.TARGET_DRIFT: Recipe(level_rows, _level_metrics, _levels),
        Kind.MODEL_PERFORMANCE: Recipe(
            scored_rows,
            lambda _: [WeightedF1(), ClassificationPreset()],
            _classification,
            lambda current: score(current.rename(columns={TARGET: "actual"})),
        ),
    }
)
