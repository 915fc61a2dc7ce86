"""Windows count each person once, and their counts merge exactly."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.champion import Champion
from monitor.handlers import Received
from monitor.window import Window, merge, nothing

Population = Callable[..., pd.DataFrame]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 400), max_size=5), order=st.randoms(use_true_random=False))
def test_counts_do_not_depend_on_how_the_rows_are_cut_or_ordered(
    cuts: list[int], order: "np.random.Generator", champion: Champion, population: Population
) -> None:
    """Promise: counts of the parts add up to the counts of the whole, bit for bit."""
    frame = population(400, seed=3)
    places = list(range(len(frame)))
    order.shuffle(places)  # type: ignore[arg-type]
    together = nothing(champion.reference)
    for part in np.split(np.array(places), sorted(cuts)):
        together = merge(together, champion.reference.counts(frame.iloc[part]))
    whole = champion.reference.counts(frame)
    assert all((together[name] == whole[name]).all() for name in whole)


def test_a_window_counts_what_was_added(
    champion: Champion, population: Population, received: Callable[..., list[Received]]
) -> None:
    frame = population(600, seed=4)
    window = Window(champion.reference, 600)
    for each in received(frame):
        window.add(each.row)
    whole = champion.reference.counts(frame)
    assert window.full
    assert all((window.counts()[name] == whole[name]).all() for name in whole)
    assert (window.earliest, window.latest) == (frame["event_timestamp"].min(), frame["event_timestamp"].max())


def test_a_person_counts_once_a_window(
    champion: Champion, population: Population, received: Callable[..., list[Received]]
) -> None:
    frame = population(3, seed=5).assign(person_id=["ada", "ada", "bob"])
    window = Window(champion.reference, 100)
    assert [window.add(each.row) for each in received(frame)] == [True, False, True]
    assert window.counts()["gender"].sum() == 2


def test_an_empty_window_has_counts_of_nothing(champion: Champion) -> None:
    assert all(not counts.any() for counts in Window(champion.reference, 100).counts().values())
