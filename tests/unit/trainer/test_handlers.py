"""What happens on a command to train and on a drift alert, with everything around it faked."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from feature_repo.gate import is_gate
from runtime.errors import NotEnoughData
from runtime.events import DriftAlert
from trainer.decide import Decision
from trainer.handlers import TrainModel, retrain, train

MakeRows = Callable[..., pd.DataFrame]
DRIFT = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
COMMAND = TrainModel(NOW, folds=3, features="raw")


def alert(version: str = "1", **changes: Any) -> DriftAlert:
    values = {"model_version": version, "window_from": DRIFT, "window_to": NOW, "events": 1000, "features": (), "summary": ""}
    return DriftAlert(**({"time": NOW} | values | changes))


@pytest.fixture
def history(make_rows: MakeRows) -> pd.DataFrame:
    return make_rows(900)


@pytest.fixture
def drifted(make_rows: MakeRows, history: pd.DataFrame) -> pd.DataFrame:
    """The history, and 900 of other persons whose scale reads 10 % high."""
    return pd.concat([history, make_rows(900, seed=5, start=DRIFT, prefix="late", scale=1.1)], ignore_index=True)


def test_the_first_model_is_registered_promoted_and_announced(open_shop: Any, history: pd.DataFrame) -> None:
    shop = open_shop(history)
    trained = train(COMMAND, shop.workshop)
    assert shop.registry.aliases == {"champion": "1"}
    assert shop.announcer.types == ["ModelRegistered", "ModelPromoted"]
    assert "no champion to beat" in shop.announcer.events[-1].decision["reason"]
    assert {"accuracy", "macro_f1", "log_loss", "family", "rows", "as_of", "decision"} <= trained.version.tags.keys()


def test_no_gate_row_is_ever_trained_tuned_or_referred_to(open_shop: Any, drifted: pd.DataFrame) -> None:
    """Promise: no gate person is in the rows, the reference or the out-of-fold predictions of a model; the gate has no other."""
    shop = open_shop(drifted)
    first = train(COMMAND, shop.workshop)
    second = retrain(alert(), shop.workshop)
    assert second is not None
    for candidate in (first.candidate, second.candidate):
        for rows in (candidate.trained_on, candidate.reference_rows, candidate.out_of_fold):
            assert not is_gate(rows["person_id"]).any()
        assert is_gate(candidate.gate_rows["person_id"]).all()
        assert candidate.reference.rows == len(candidate.out_of_fold) == len(candidate.reference_rows)


def test_training_again_on_the_same_rows_promotes_nothing(open_shop: Any, history: pd.DataFrame) -> None:
    shop = open_shop(history)
    train(COMMAND, shop.workshop)
    second = train(COMMAND, shop.workshop)
    assert not second.decision.promote
    assert shop.registry.aliases == {"champion": "1", "challenger": "2"}


def test_after_a_drift_the_challenger_that_learnt_it_is_promoted(
    open_shop: Any, history: pd.DataFrame, drifted: pd.DataFrame
) -> None:
    shop = open_shop(history)
    train(COMMAND, shop.workshop)
    shop.history.rows = drifted
    trained = retrain(alert(), shop.workshop)
    assert trained is not None
    assert shop.registry.aliases == {"champion": "2", "previous": "1"}
    record = json.loads(trained.version.tags["decision"])
    assert record["p_value"] < 0.05
    assert record["window_from"] == DRIFT.isoformat()
    assert record["recent_weight"]["chosen"] in record["recent_weight"]["log_loss"]
    assert (trained.candidate.gate_rows["event_timestamp"] >= DRIFT).all()
    assert (trained.candidate.reference_rows["event_timestamp"] >= DRIFT).all()


def test_an_alert_about_a_model_that_is_no_longer_champion_trains_nothing(open_shop: Any, history: pd.DataFrame) -> None:
    shop = open_shop(history)
    train(COMMAND, shop.workshop)
    assert retrain(alert("7"), shop.workshop) is None
    assert len(shop.registry.kept) == 1


def test_an_alert_before_any_model_trains_nothing(open_shop: Any, history: pd.DataFrame) -> None:
    assert retrain(alert(), open_shop(history).workshop) is None


def test_an_alert_that_comes_twice_is_answered_once(open_shop: Any, history: pd.DataFrame, drifted: pd.DataFrame) -> None:
    shop = open_shop(history)
    train(COMMAND, shop.workshop)
    shop.history.rows = drifted
    again = alert()
    retrain(again, shop.workshop)
    before = len(shop.announcer.events)
    assert retrain(again, shop.workshop) is None
    assert len(shop.registry.kept) == 2
    assert shop.announcer.types[before:] == ["ModelPromoted"]


def test_a_promotion_that_was_cut_off_is_finished_when_the_alert_comes_again(open_shop: Any, history: pd.DataFrame) -> None:
    """Promise: it is not trained again, and it is not left undone; what an operator took back is not done again."""
    shop, again = open_shop(history), alert()
    train(COMMAND, shop.workshop)
    decided = Decision(promote=True, reason="better", champion_version="1").record()
    cut_off = shop.registry.add(alert_id=again.id, decision=json.dumps(decided))
    shop.registry.set_alias("challenger", cut_off.version)
    assert retrain(again, shop.workshop) is None
    assert shop.registry.aliases == {"champion": "2", "previous": "1"}
    assert shop.announcer.events[-1].decision["reason"] == "better"
    shop.workshop.promotion.rollback()
    assert retrain(again, shop.workshop) is None
    assert shop.registry.aliases == {"champion": "1", "previous": "2"}


def test_a_rejected_answer_is_not_tried_again_for_the_same_alert(open_shop: Any, drifted: pd.DataFrame) -> None:
    shop = open_shop(drifted, trainer_min_gate_persons=10_000)
    train(COMMAND, shop.workshop)
    twice = alert()
    rejected = retrain(twice, shop.workshop)
    assert rejected is not None
    assert "too few gate persons" in rejected.decision.reason
    assert retrain(twice, shop.workshop) is None
    assert shop.registry.aliases == {"champion": "1", "challenger": "2"}


def test_recent_rows_of_too_few_persons_are_logged_and_nothing_else_happens(
    open_shop: Any, history: pd.DataFrame, make_rows: MakeRows
) -> None:
    shop = open_shop(history, trainer_min_recent_labels=1)
    train(COMMAND, shop.workshop)
    few = make_rows(30, seed=5, start=DRIFT).assign(person_id=history["person_id"].iloc[0])
    shop.history.rows = pd.concat([history, few], ignore_index=True)
    assert retrain(alert(), shop.workshop) is None
    assert shop.registry.aliases == {"champion": "1"}


def test_a_missing_level_leaves_the_champion_untouched(open_shop: Any, history: pd.DataFrame) -> None:
    shop = open_shop(history)
    train(COMMAND, shop.workshop)
    shop.history.rows = history[history["obesity_level"] != "Normal_Weight"]
    with pytest.raises(NotEnoughData, match="Normal_Weight: 0"):
        train(COMMAND, shop.workshop)
    assert shop.registry.aliases == {"champion": "1"}
    assert len(shop.registry.kept) == 1


def test_without_gate_rows_nothing_is_registered(open_shop: Any, history: pd.DataFrame) -> None:
    shop = open_shop(history[~np.asarray(is_gate(history["person_id"]))])
    with pytest.raises(NotEnoughData, match="gate person"):
        train(COMMAND, shop.workshop)
    assert shop.registry.kept == {}


def test_training_uses_what_was_known_at_the_cut_off(open_shop: Any, history: pd.DataFrame) -> None:
    later = history.assign(ingested_at=[NOW if n % 2 else each for n, each in enumerate(history["ingested_at"])])
    cut = TrainModel(datetime(2025, 5, 1, tzinfo=UTC), folds=3, features="raw")
    trained = train(cut, open_shop(later).workshop)
    assert len(trained.candidate.trained_on) + len(trained.candidate.gate_rows) == 450
