"""The fold over time: what a row may know, what the state remembers, and that it survives its encoding."""

from dataclasses import replace
from datetime import timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.temporal import LIMIT, Observation, PersonState, TemporalFeatures, advance

DAY = timedelta(days=1) // timedelta(microseconds=1)


def fold(*weights: tuple[float, float]) -> list[TemporalFeatures]:
    """The features of records of (day, weight in kg) in log order."""
    state, rows = PersonState(), []
    for offset, (day, weight_kg) in enumerate(weights):
        state, row = advance(state, Observation(round(day * DAY), offset, weight_kg, weight_kg / 4))
        rows.append(row)
    return rows


def test_a_first_record_has_nothing_to_compare_with() -> None:
    assert fold((0, 80)) == [TemporalFeatures(1, None, None, None, 80, 80, 80, None, late=False)]


def test_a_second_record_is_compared_with_the_first() -> None:
    row = fold((0, 80), (15, 82))[1]
    assert (row.records_seen, row.days_since_previous_record, row.weight_change_kg, row.bmi_change) == (2, 15, 2, 0.5)
    assert (row.weight_min_90d_kg, row.weight_max_90d_kg, row.weight_mean_90d_kg) == (80, 82, 81)
    assert row.weight_trend_kg_per_30d == pytest.approx(4)


def test_the_window_is_ninety_days_up_to_the_record() -> None:
    assert fold((0, 80), (90, 70))[1].weight_max_90d_kg == 70
    assert fold((0.001, 80), (90, 70))[1].weight_max_90d_kg == 80


def test_a_late_record_sees_only_what_was_earlier_in_time_and_counts_in_log_order() -> None:
    row = fold((0, 80), (30, 90), (10, 82))[2]
    assert (row.late, row.records_seen, row.days_since_previous_record, row.weight_max_90d_kg) == (True, 3, 10, 82)


def test_a_late_record_is_remembered_for_later_ones() -> None:
    assert fold((0, 80), (30, 90), (10, 60), (31, 90))[3].weight_min_90d_kg == 60


def test_an_equal_event_time_is_a_second_record_zero_days_after_the_first() -> None:
    row = fold((0, 80), (0, 81))[1]
    assert (row.records_seen, row.days_since_previous_record, row.weight_change_kg, row.late) == (2, 0, 1, False)
    assert row.weight_trend_kg_per_30d is None


OBSERVATIONS = st.lists(
    st.builds(
        Observation,
        event_us=st.integers(-100 * DAY, 100 * DAY),
        offset=st.just(0),
        weight_kg=st.floats(5, 700),
        bmi=st.floats(1, 3000),
    ),
    max_size=LIMIT + 20,
).map(lambda drawn: [replace(each, offset=number) for number, each in enumerate(drawn)])


def states_of(observations: list[Observation]) -> list[PersonState]:
    return list(accumulate(observations, lambda state, seen: advance(state, seen)[0], initial=PersonState(epoch=7)))


@given(OBSERVATIONS)
def test_a_state_is_bounded_ordered_and_counts_everything(observations: list[Observation]) -> None:
    state = states_of(observations)[-1]
    assert list(state.observations) == sorted(observations)[-LIMIT:]
    assert len(state.observations) == min(len(observations), LIMIT)
    assert list(state.observations) == sorted(state.observations)
    assert (state.records_seen, state.offset, state.epoch) == (len(observations), len(observations) - 1, 7)


@given(OBSERVATIONS)
def test_a_state_reads_back_from_its_bytes(observations: list[Observation]) -> None:
    for state in states_of(observations)[-3:]:
        assert PersonState.decode(state.encode()) == state


@given(OBSERVATIONS, st.data())
def test_a_torn_or_foreign_state_is_refused(observations: list[Observation], data: st.DataObject) -> None:
    encoded = states_of(observations)[-1].encode()
    with pytest.raises(ValueError, match=r"torn|unknown"):
        PersonState.decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(ValueError, match="version ff is unknown"):
        PersonState.decode(b"\xff" + encoded[1:])


@given(OBSERVATIONS)
def test_a_row_never_depends_on_what_comes_later_in_the_log(observations: list[Observation]) -> None:
    """Promise: each row is a function of the records before it; so a backfill gives what the stream gave."""
    for cut in range(len(observations)):
        state = PersonState.decode(states_of(observations[:cut])[-1].encode())
        assert advance(replace(state, epoch=7), observations[cut])[1].records_seen == cut + 1


@given(OBSERVATIONS)
def test_a_row_never_uses_an_observation_that_is_later_in_time(observations: list[Observation]) -> None:
    for cut, seen in enumerate(observations):
        future = [each for each in observations[:cut] if each.event_us <= seen.event_us]
        if cut >= LIMIT:
            return
        whole = advance(states_of(observations[:cut])[-1], seen)[1]
        past = advance(states_of(future)[-1], seen)[1]
        assert replace(whole, records_seen=0, late=False) == replace(past, records_seen=0, late=False)
