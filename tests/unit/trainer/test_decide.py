"""The gate promotes what is better, and seldom what is not."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.decide import Decision, first_model, judge

Floats = np.ndarray


def decided(champion: Floats, challenger: Floats, persons: list[str] | None = None, least: int = 2) -> Decision:
    names = persons or [f"p{n}" for n in range(len(champion))]
    return judge(champion, challenger, names, champion_version="1", significance=0.05, least_persons=least)


def test_a_clearly_better_challenger_is_promoted_with_its_effect_and_interval() -> None:
    random = np.random.default_rng(1)
    champion = random.exponential(0.4, 300)
    decision = decided(champion, champion - 0.1 + random.normal(0, 0.1, 300))
    assert decision.promote
    assert decision.interval is not None
    assert decision.difference == pytest.approx(0.1, abs=0.03)
    assert decision.interval[0] < 0.1 < decision.interval[1]
    assert decision.p_value is not None
    assert decision.p_value < 1e-6


@given(st.lists(st.floats(0, 30), min_size=2, max_size=50))
def test_the_same_model_twice_is_never_promoted(losses: list[float]) -> None:
    decision = decided(np.array(losses), np.array(losses))
    assert not decision.promote
    assert decision.p_value == 1.0


@given(st.lists(st.tuples(st.floats(0, 30), st.floats(0, 30)), min_size=3, max_size=50))
def test_a_challenger_with_the_greater_mean_loss_is_never_promoted(pairs: list[tuple[float, float]]) -> None:
    champion, challenger = np.array(pairs).T
    if challenger.mean() >= champion.mean():
        assert not decided(champion, challenger).promote


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_models_that_are_equally_good_are_promoted_about_one_time_in_twenty(seed: int) -> None:
    """Promise: at 5 % significance, 400 pairs of equal models give 20 promotions, within five standard deviations."""
    random = np.random.default_rng(seed)
    losses = random.exponential(0.3, (400, 2, 150))
    promoted = sum(decided(champion, challenger).promote for champion, challenger in losses)
    assert promoted <= 20 + 5 * np.sqrt(400 * 0.05 * 0.95)


def test_many_rows_of_few_persons_count_as_few() -> None:
    """Promise: rows of one person are not independent evidence."""
    random = np.random.default_rng(2)
    champion = random.exponential(0.4, 100)
    decision = decided(champion, champion - 0.1, persons=["a"] * 50 + ["b"] * 50, least=10)
    assert not decision.promote
    assert decision.reason == "not decided: too few gate persons (2, needed 10)"
    assert (decision.rows, decision.persons) == (100, 2)


def test_the_first_model_has_nobody_to_beat_and_says_so() -> None:
    decision = first_model(12)
    assert decision.promote
    assert "no champion to beat" in decision.reason


def test_a_decision_record_is_plain_json() -> None:
    record = decided(np.array([0.3, 0.5, 0.2]), np.array([0.2, 0.1, 0.3])).record()
    assert json.loads(json.dumps(record))["outcome"] in {"promoted", "rejected"}
    assert {"rows", "persons", "difference", "interval", "p_value", "champion_log_loss", "challenger_log_loss"} <= record.keys()
