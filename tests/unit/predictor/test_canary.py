"""Whom a canary answers."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.gate import is_gate
from predictor.canary import TAG, is_chosen, percent_of
from predictor.messages import Serving

PERSONS = [f"p{number}" for number in range(20_000)]
PERCENT = st.floats(0, 100)


@pytest.mark.parametrize("percent", [0.5, 5, 50, 95])
def test_a_canary_answers_its_share_of_persons_within_four_standard_errors(percent: float):
    share = np.mean([is_chosen(person, percent) for person in PERSONS])
    error = (percent / 100 * (1 - percent / 100) / len(PERSONS)) ** 0.5
    assert abs(share - percent / 100) < 4 * error


def test_gate_persons_are_as_often_a_canarys_as_all_others():
    """Promise: the choice is independent of the gate's; with its hash, ten percent would be the gate and nobody else."""
    gate = is_gate(PERSONS)
    chosen = np.array([is_chosen(person, 10) for person in PERSONS])
    error = (0.1 * 0.9 / gate.sum()) ** 0.5
    assert abs(chosen[gate].mean() - 0.1) < 4 * error


@given(st.text(min_size=1, max_size=64), PERCENT, PERCENT)
def test_raising_the_share_keeps_those_who_were_in(person: str, one: float, other: float):
    assert is_chosen(person, min(one, other)) <= is_chosen(person, max(one, other))


@given(st.text(min_size=1, max_size=64))
def test_nobody_is_in_at_zero_and_everybody_at_a_hundred(person: str):
    assert (is_chosen(person, 0), is_chosen(person, 100)) == (False, True)


def test_the_choice_is_the_same_in_every_process_and_release():
    assert [number for number in range(40) if is_chosen(f"p{number}", 10)] == [1, 9, 15, 18, 33]


def test_a_request_without_a_person_is_never_a_canarys():
    assert not is_chosen("", 100)


@pytest.mark.parametrize(("told", "percent"), [("0", 0), ("2.5", 2.5), ("100", 100)])
def test_the_tag_tells_the_share(told: str, percent: float):
    assert percent_of({TAG: told}, "3") == percent
    assert percent_of({}, "3") == 0


@pytest.mark.parametrize("told", ["", "ten", "-1", "100.1", "nan", "inf", "5%"])
def test_a_tag_that_is_no_share_means_no_canary(told: str):
    assert percent_of({TAG: told}, "3") == 0


def test_a_serving_gives_its_canary_to_the_chosen_and_itself_to_the_others(make_model: Any, make_classifier: Any):
    canary = Serving(make_model(make_classifier(), version="2"), "challenger")
    serving = Serving(make_model(make_classifier()), "champion", canary, 30.0)
    for person in PERSONS[:100]:
        assert serving.for_person(person) is (canary if is_chosen(person, 30) else serving)
    assert serving.for_person("") is serving


def test_without_a_canary_no_person_is_hashed(make_model: Any, make_classifier: Any):
    """Promise: looking up costs nothing where no canary is on; what is no id would fail in the hash."""
    serving = Serving(make_model(make_classifier()), "champion")
    assert serving.for_person(None) is serving  # type: ignore[arg-type]


def test_what_shadows_read_beyond_the_model_is_told_once(make_model: Any, make_classifier: Any):
    def serving(*inputs: str, shadows: Any = ()) -> Serving:
        return Serving(make_model(make_classifier(), inputs=("weight_kg", *inputs)), "any", shadows=shadows)

    served = serving("bmi", shadows=(serving("bmi", "pal"), serving("pal", "age_years")))
    assert served.further_inputs == ("pal", "age_years")
    assert serving("bmi").further_inputs == ()
