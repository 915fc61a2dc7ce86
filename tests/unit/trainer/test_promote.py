"""Aliases move as decided, and every move is announced."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.clock import FixedClock
from runtime.errors import HabitusError
from runtime.events import ModelEvent
from trainer.decide import Decision
from trainer.promote import Promotion

YES, NO = Decision(promote=True, reason="better"), Decision(promote=False, reason="not better")
BETTER_THAN_1 = replace(YES, champion_version="1")


@pytest.fixture
def promotion(registry: Any, announcer: Any) -> Promotion:
    return Promotion(registry, announcer, FixedClock(datetime(2025, 1, 1, tzinfo=UTC)))


def test_a_promoted_challenger_becomes_champion_and_the_old_one_previous(promotion: Promotion, registry: Any) -> None:
    first, second = registry.add(), registry.add()
    promotion.settle(first, YES)
    promotion.challenge(second)
    promotion.settle(second, BETTER_THAN_1)
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
    for decision in (YES, BETTER_THAN_1):
        promotion.settle(registry.add(), decision)
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


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Mortal:
    """A registry whose caller's process ends after so many more moves of aliases."""

    registry: Any
    moves_left: int

    def set_alias(self, alias: str, version: str) -> None:
        self._step()
        self.registry.set_alias(alias, version)

    def remove_alias(self, alias: str) -> None:
        self._step()
        self.registry.remove_alias(alias)

    def _step(self) -> None:
        if not self.moves_left:
            raise Killed
        self.moves_left -= 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self.registry, name)


def settle_and_die(promotion: Promotion, registry: Any, moves: int) -> None:
    """Version 2 beats version 1, and the process ends after so many moves."""
    first, second = registry.add(), registry.add()
    promotion.settle(first, YES)
    promotion.challenge(second)
    with pytest.raises(Killed):
        replace(promotion, registry=Mortal(registry, moves)).settle(second, BETTER_THAN_1)


@pytest.mark.parametrize("moves", [0, 1])
def test_a_promotion_that_was_cut_off_can_be_finished_and_taken_back(
    moves: int, promotion: Promotion, registry: Any, announcer: Any
) -> None:
    settle_and_die(promotion, registry, moves)
    assert registry.aliases["champion"] == "1"
    assert promotion.is_unfinished(registry.by_version("2"))
    promotion.finish(registry.by_version("2"))
    assert registry.aliases == {"champion": "2", "previous": "1"}
    assert announcer.types[-1] == "ModelPromoted"
    assert promotion.rollback().version == "1"
    assert not promotion.is_unfinished(registry.by_version("2"))


def test_once_the_champion_has_moved_there_is_a_way_back(promotion: Promotion, registry: Any) -> None:
    settle_and_die(promotion, registry, 2)
    assert registry.aliases == {"champion": "2", "previous": "1", "challenger": "2"}
    promotion.announce_again(registry.by_version("2"))
    assert registry.aliases == {"champion": "2", "previous": "1"}


def test_who_beat_a_champion_that_reigns_no_longer_is_rejected(promotion: Promotion, registry: Any, announcer: Any) -> None:
    for _ in range(3):
        registry.add()
    promotion.promote("1")
    promotion.promote("2")
    promotion.challenge(registry.kept["3"])
    decision = promotion.settle(registry.kept["3"], BETTER_THAN_1)
    assert (decision.promote, decision.reason) == (False, "the champion changed meanwhile")
    assert registry.aliases == {"champion": "2", "previous": "1", "challenger": "3"}
    assert announcer.events[-1].decision["outcome"] == "rejected"


def test_an_unfinished_promotion_over_another_champion_ends_as_rejected(promotion: Promotion, registry: Any) -> None:
    for _ in range(3):
        registry.add()
    promotion.promote("1")
    promotion.challenge(registry.kept["3"])
    registry.set_tag("3", "decision", json.dumps(BETTER_THAN_1.record()))
    promotion.promote("2")
    promotion.finish(registry.by_version("3"))
    assert registry.aliases == {"champion": "2", "previous": "1", "challenger": "3"}
    assert json.loads(registry.kept["3"].tags["decision"])["reason"] == "the champion changed meanwhile"
    assert not promotion.is_unfinished(registry.by_version("3"))
