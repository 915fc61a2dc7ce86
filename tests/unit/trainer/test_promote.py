"""Aliases move as decided, and every move is announced."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.clock import FixedClock
from runtime.errors import HabitusError
from runtime.events import ModelEvent
from trainer.decide import Decision
from trainer.promote import Promotion

YES, NO = Decision(promote=True, reason="better"), Decision(promote=False, reason="not better")


@pytest.fixture
def promotion(registry: Any, announcer: Any) -> Promotion:
    return Promotion(registry, announcer, FixedClock(datetime(2025, 1, 1, tzinfo=UTC)))


def test_a_promoted_challenger_becomes_champion_and_the_old_one_previous(promotion: Promotion, registry: Any) -> None:
    first, second = registry.add(), registry.add()
    promotion.settle(first, YES)
    promotion.challenge(second)
    promotion.settle(second, YES)
    assert registry.aliases == {"champion": "2", "previous": "1"}
    assert json.loads(registry.kept["2"].tags["decision"])["reason"] == "better"


def test_a_rejected_challenger_leaves_the_champion_where_it_is(promotion: Promotion, registry: Any, announcer: Any) -> None:
    first, second = registry.add(), registry.add()
    promotion.settle(first, YES)
    promotion.challenge(second)
    promotion.settle(second, NO)
    assert registry.aliases == {"champion": "1", "challenger": "2"}
    assert announcer.types == ["ModelPromoted", "ModelRegistered", "ModelRejected"]
    assert announcer.events[-1].decision["outcome"] == "rejected"


def test_rolling_back_changes_places_and_back_again(promotion: Promotion, registry: Any, announcer: Any) -> None:
    for _ in range(2):
        promotion.settle(registry.add(), YES)
    assert promotion.rollback().version == "1"
    assert registry.aliases == {"champion": "1", "previous": "2"}
    assert promotion.rollback().version == "2"
    assert announcer.types[-2:] == ["ModelRolledBack", "ModelRolledBack"]


def test_without_a_previous_champion_there_is_no_way_back(promotion: Promotion, registry: Any) -> None:
    promotion.settle(registry.add(), YES)
    with pytest.raises(HabitusError, match="no previous champion"):
        promotion.rollback()


def test_an_operator_may_promote_what_the_gate_rejected_and_the_record_keeps_both(promotion: Promotion, registry: Any) -> None:
    version = registry.add()
    promotion.settle(version, NO)
    promotion.promote("1")
    record = json.loads(registry.kept["1"].tags["decision"])
    assert record["reason"] == "promoted by an operator"
    assert record["earlier"]["reason"] == "not better"


@pytest.mark.parametrize(("number", "message"), [("9", "there is no version 9"), ("1", "version 1 is the champion already")])
def test_promoting_what_cannot_be_says_why(number: str, message: str, promotion: Promotion, registry: Any) -> None:
    promotion.settle(registry.add(), YES)
    with pytest.raises(HabitusError, match=message):
        promotion.promote(number)


def test_an_announcement_that_fails_takes_nothing_back(promotion: Promotion, registry: Any) -> None:
    class Mute:
        def announce(self, event: ModelEvent) -> bool:
            return event is None

    replace(promotion, announcer=Mute()).settle(registry.add(), YES)
    assert registry.aliases == {"champion": "1"}
