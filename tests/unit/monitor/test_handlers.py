"""What the monitor promises about rows, windows, alerts and restarts."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.handlers import Received, handle_champion, handle_rows, resume

Population = Callable[..., pd.DataFrame]
Arrive = Callable[..., list[Received]]


@pytest.fixture
def drifting(population: Population, received: Arrive, after_training: datetime) -> list[Received]:
    """Four windows of people whose scale reads 10 % high."""
    return received(population(2_000, seed=1, weight_scale=1.1, start=after_training))


@pytest.fixture
def calm(population: Population, received: Arrive, after_training: datetime) -> list[Received]:
    """Four windows of the population that the champion knows."""
    return received(population(2_000, seed=2, start=after_training))


def test_a_window_that_drifted_raises_one_alert(bench: Any, drifting: list[Received]) -> None:
    assert handle_rows(drifting[:500], bench.start()) == 1
    (alert,) = bench.alerts.sent
    assert alert.model_version == "1"
    assert alert.events == 500
    assert alert.window_from == drifting[0].row.event_timestamp
    assert alert.window_to == drifting[499].row.event_timestamp
    assert [each.name for each in alert.features if each.drifted] == ["weight_kg"]
    assert len(alert.features) == 16
    assert alert.summary.startswith("weight_kg reads ")


def test_windows_without_drift_raise_nothing(bench: Any, calm: list[Received]) -> None:
    assert handle_rows(calm, bench.start()) == 4
    assert not bench.alerts.sent


def test_rows_that_the_champion_was_trained_on_are_not_counted(bench: Any, population: Population, received: Arrive) -> None:
    monitor = bench.start()
    assert handle_rows(received(population(1_000, seed=1, weight_scale=1.1)), monitor) == 0
    assert not monitor.window
    assert bench.checkpoints.positions == {0: 1_000}  # they need not be read again


def test_an_alert_is_not_repeated_for_the_quiet_windows(bench: Any, drifting: list[Received]) -> None:
    """Promise: of four drifted windows the first and the fourth alert, with two quiet ones between."""
    handle_rows(drifting, bench.start())
    assert [alert.window_to for alert in bench.alerts.sent] == [drifting[n].row.event_timestamp for n in (499, 1_999)]


def test_quiet_windows_outlive_a_restart(bench: Any, drifting: list[Received]) -> None:
    for begin in range(0, 1_500, 500):
        handle_rows(drifting[begin : begin + 500], bench.start())
    assert len(bench.alerts.sent) == 1


def test_another_champion_is_alerted_at_once(bench: Any, drifting: list[Received]) -> None:
    monitor = bench.start()
    handle_rows(drifting[:700], monitor)
    handle_champion(replace(bench.champion, version="2"), monitor)
    handle_rows(drifting[700:1_200], monitor)
    assert [alert.model_version for alert in bench.alerts.sent] == ["1", "2"]
    assert bench.alerts.sent[1].window_from == drifting[700].row.event_timestamp


def test_rows_of_the_model_that_left_are_not_counted_after_a_restart(bench: Any, drifting: list[Received]) -> None:
    monitor = bench.start()
    handle_rows(drifting[:700], monitor)
    handle_champion(replace(bench.champion, version="2"), monitor)
    assert bench.unread(drifting)[0].offset == 700


def test_the_same_champion_again_changes_nothing(bench: Any, drifting: list[Received]) -> None:
    monitor = bench.start()
    handle_rows(drifting[:100], monitor)
    handle_champion(bench.champion, monitor)
    assert len(monitor.window) == 100


def test_a_record_published_again_counts_once(bench: Any, calm: list[Received]) -> None:
    """Promise: rows are deduplicated by their source offset, also when they come again at other offsets of the topic."""
    again = [each._replace(offset=each.offset + 300) for each in calm[:300]]
    other = [each._replace(row=replace(each.row, person_id=f"other-{each.row.person_id}"), offset=each.offset) for each in again]
    monitor = bench.start()
    handle_rows([*calm[:300], *other], monitor)
    assert len(monitor.window) == 300


def test_nothing_is_committed_within_a_window(bench: Any, calm: list[Received]) -> None:
    handle_rows(calm[:499], bench.start())
    assert bench.checkpoints.positions == {}
    handle_rows(calm[:500], bench.start())
    assert bench.checkpoints.positions == {0: 500}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crashes=st.lists(st.integers(1, 900), min_size=1, max_size=4))
def test_crashes_change_no_alert(crashes: list[int], bench: Any, drifting: list[Received]) -> None:
    """Promise: killed at any rows and started again, the monitor raises the alerts of an undisturbed run, ids included."""
    undisturbed, disturbed = (type(bench)(bench.champion) for _ in range(2))
    handle_rows(drifting, undisturbed.start())
    for rows in crashes:
        handle_rows(disturbed.unread(drifting)[:rows], disturbed.start())
    handle_rows(disturbed.unread(drifting), disturbed.start())
    assert disturbed.alerts.sent == undisturbed.alerts.sent


def test_an_alert_that_is_sent_again_carries_the_same_id(bench: Any, drifting: list[Received]) -> None:
    """Promise: killed between the alert and the commit, the same alert comes again, recognisably."""
    handle_rows(drifting[:500], bench.start())
    crashed = type(bench)(bench.champion, alerts=bench.alerts)
    handle_rows(drifting[:500], crashed.start())
    first, second = bench.alerts.sent
    assert first == second


def test_partitions_assigned_anew_begin_where_the_window_began(bench: Any, calm: list[Received]) -> None:
    monitor = bench.start()
    handle_rows(calm[:700], monitor)
    resume(monitor, bench.checkpoints.progress)
    assert not monitor.window
    handle_rows(bench.unread(calm)[:200], monitor)
    assert len(monitor.window) == 200
