"""Scores of labelled rows are those of the answers that the predictor would give."""

from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from feature_repo.labels import LEVELS
from predictor.evaluate import evaluate_model
from predictor.handlers import Parts, predict
from predictor.messages import PredictionRequest
from runtime.errors import NotEnoughData, RecordRejected


@pytest.fixture
def rows(record: dict[str, object]) -> pd.DataFrame:
    weights = [50.0, 90.0, 120.0]
    named = [record | {"weight_kg": weight, "id": number} for number, weight in enumerate(weights)]
    return pd.DataFrame(named).assign(NObeyesdad=[LEVELS[0], LEVELS[0], LEVELS[3]])


async def test_each_row_gets_what_predict_answers(
    rows: pd.DataFrame, parts: Parts, make_model: Any, classifier: Any, now: datetime
) -> None:
    """Promise: evaluation is the serving code; a row's probabilities are those of its inline prediction."""
    found = evaluate_model(make_model(classifier), rows, now).predictions
    requests = [PredictionRequest(record=row) for row in rows.drop(columns="NObeyesdad").to_dict("records")]
    answers: list[Any] = await predict(requests, parts)
    assert found[list(LEVELS)].to_dict("records") == [dict(each.probabilities) for each in answers]
    assert found["predicted"].tolist() == [each.level for each in answers]
    assert found["actual"].tolist() == rows["NObeyesdad"].tolist()


def test_the_summary_has_the_keys_of_the_contract(rows: pd.DataFrame, make_model: Any, classifier: Any, now: datetime) -> None:
    summary = evaluate_model(make_model(classifier, version="7"), rows, now).summary()
    assert list(summary) == ["model_version", "rows", "accuracy", "macro_f1", "weighted_f1", "log_loss", "ece"]
    assert (summary["model_version"], summary["rows"], summary["accuracy"]) == ("7", 3, pytest.approx(2 / 3))


class Seen:
    """A classifier that keeps what it was last asked."""

    classes_ = LEVELS

    def predict_proba(self, frame: pd.DataFrame) -> Any:
        self.frame = frame
        return [[1.0, 0, 0, 0, 0, 0, 0]] * len(frame)


def test_rows_of_one_person_are_folded_in_their_order(rows: pd.DataFrame, make_model: Any, now: datetime) -> None:
    times = [(now + timedelta(days=day)).isoformat() for day in range(3)]
    seen = Seen()
    model = make_model(seen)
    evaluate_model(model, rows.assign(person_id=["a", None, "a"], event_timestamp=times), now)
    assert seen.frame["records_seen"].tolist() == [1, 1, 2]
    assert seen.frame["weight_change_kg"].tolist()[2] == 70.0
    evaluate_model(model, rows, now)
    assert seen.frame["records_seen"].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("cell", "failed"),
    [(("age_years", 300), "age_years"), (("NObeyesdad", "Heavy"), "obesity_level"), (("NObeyesdad", None), "obesity_level")],
)
def test_a_bad_row_is_named(  # noqa: PLR0917  fixtures are named, never given by position
    rows: pd.DataFrame, make_model: Any, classifier: Any, now: datetime, cell: tuple[str, Any], failed: str
) -> None:
    column, value = cell
    rows[column] = rows[column].astype(object)
    rows.loc[1, column] = value
    with pytest.raises(RecordRejected) as caught:
        evaluate_model(make_model(classifier), rows, now)
    assert caught.value.failed_fields == (f"row 1 (from 0), {failed}",)


def test_no_rows_have_no_scores(rows: pd.DataFrame, make_model: Any, classifier: Any, now: datetime) -> None:
    with pytest.raises(NotEnoughData):
        evaluate_model(make_model(classifier), rows.iloc[:0], now)
