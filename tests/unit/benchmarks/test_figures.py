"""Ratios by rounds, slopes, memory, cores, and the codes that a server counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, generate_latest

from benchmarks.serving.cores import Cores
from benchmarks.serving.counted import codes_in, counted_codes
from benchmarks.serving.figures import Slope, ratio
from benchmarks.serving.memory import grown
from runtime.errors import HabitusError


def test_a_disturbed_round_does_not_move_a_ratio() -> None:
    """Promise: a round in which everything ran at half the speed changes no ratio."""
    assert ratio([400.0, 200.0, 400.0], [100.0, 50.0, 100.0]) == 4.0


def test_rounds_without_a_counterpart_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([1.0, 2.0], [1.0])


@given(rise=st.floats(-100, 100), base=st.floats(-1e6, 1e6))
def test_a_line_has_its_own_slope_and_no_error(rise: float, base: float) -> None:
    x = [float(each) for each in range(20)]
    found = Slope.through(x, [base + rise * each for each in x])
    assert found.rise == pytest.approx(rise, abs=1e-6)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_a_slope_in_noise_says_how_uncertain_it_is() -> None:
    found = Slope.through([0, 1, 2, 3], [0, 1, 0, 1])
    assert abs(found.rise) < 2 * found.error


def test_memory_that_only_fills_its_caches_does_not_grow() -> None:
    """Promise: what a server takes at first is no growth; what it takes with every request is."""
    flat = grown([10_000_000, 20_000_000, *[30_000_000] * 8], requests_a_step=1_000)
    assert flat.bytes_a_request.rise == 0
    leaking = grown([30_000_000 + 16_000 * step for step in range(10)], requests_a_step=1_000)
    assert leaking.bytes_a_request.rise == pytest.approx(16)
    assert leaking.requests == 10_000


def test_the_server_has_a_core_that_nobody_else_has() -> None:
    cores = Cores.split({3, 0, 1})
    assert (cores.server, cores.others) == (frozenset({3}), frozenset({0, 1}))


def test_one_core_is_too_few() -> None:
    with pytest.raises(HabitusError, match="only core"):
        Cores.split({0})


def test_codes_are_those_of_the_requests_that_a_server_counted() -> None:
    registry = CollectorRegistry()
    requests = Counter("predictor_requests", "by code", ["method", "code"], registry=registry)
    requests.labels("Predict", "OK").inc(7)
    requests.labels("PredictBatch", "OK").inc(2)
    requests.labels("Predict", "UNAVAILABLE").inc()
    Counter("log_drops", "of the log", ["code"], registry=registry).labels("OK").inc(5)
    assert codes_in(generate_latest(registry).decode()) == {"OK": 9, "UNAVAILABLE": 1}


def test_a_server_without_metrics_counted_nothing() -> None:
    assert counted_codes("127.0.0.1:1") == {}
