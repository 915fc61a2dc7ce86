"""Weighted F1 as an Evidently metric; Evidently's own F1 of several classes is the macro average."""

from typing import Any

from evidently.core.metric_types import SingleValue, SingleValueCalculation, SingleValueMetric
from evidently.legacy.renderers.html_widgets import CounterData, counter
from sklearn.metrics import f1_score

from monitor.reports.sources import PREDICTION, TARGET


class WeightedF1(SingleValueMetric):  # type: ignore[misc]
    """F1 of each level, averaged by how often the level is the true one."""


class WeightedF1Calculation(SingleValueCalculation[WeightedF1]):  # type: ignore[misc]
    """How Evidently computes `WeightedF1`; it finds this class by the metric's type."""

    def calculate(self, context: Any, current_data: Any, reference_data: Any) -> tuple[SingleValue, SingleValue | None]:  # noqa: ARG002
        """The value of the current rows, and of the reference's."""
        value = self.result(_weighted_f1(current_data))
        value.widget = [counter(counters=[CounterData.float(label="Weighted F1", value=value.value, precision=3)])]
        return value, None if reference_data is None else self.result(_weighted_f1(reference_data))

    def display_name(self) -> str:
        """What the report calls it."""
        return "Weighted F1 score"


def _weighted_f1(data: Any) -> float:
    truth, guess = data.column(TARGET).data, data.column(PREDICTION).data
    return float(f1_score(truth, guess, average="weighted", zero_division=0.0))
