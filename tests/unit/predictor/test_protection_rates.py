"""A client gets its rate and its burst, whatever it does and whoever else is there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.protection.rates import Rates, client_at
from runtime.errors import RateExceeded

PER_S, BURST = 10.0, 5.0
STEPS = st.lists(st.tuples(st.floats(0, 2), st.integers(1, 12)), max_size=60)


@given(STEPS)
def test_no_client_ever_gets_more_than_its_burst_and_its_rate(steps: list[tuple[float, int]]):
    """Promise: up to any time t at most burst + rate * t were let through, aside from what the last batch still owes."""
    now, taken, owed = 0.0, 0, 0.0
    rates = Rates(PER_S, BURST, monotonic=lambda: now)
    for pause_s, count in steps:
        now += pause_s
        if rates.wait_s("me", count) == 0:
            taken += count
            owed = max(0.0, count - BURST)
        assert taken <= BURST + PER_S * now + owed + 1e-6


@given(STEPS)
def test_whoever_waits_as_long_as_told_is_let_through(steps: list[tuple[float, int]]):
    now = 0.0
    rates = Rates(PER_S, BURST, monotonic=lambda: now)
    for pause_s, count in steps:
        now += pause_s
        wait_s = rates.wait_s("me", count)
        if wait_s:
            now += wait_s + 1e-9
            assert rates.wait_s("me", count) == 0


def test_who_was_quiet_for_long_may_send_its_burst_and_no_more():
    now = 0.0
    rates = Rates(PER_S, BURST, monotonic=lambda: now)
    rates.take("me")
    now = 1e6
    rates.take("me", int(BURST))
    assert rates.wait_s("me") == pytest.approx(1 / PER_S)


def test_a_batch_is_as_dear_as_its_requests():
    now = 0.0
    rates = Rates(PER_S, BURST, monotonic=lambda: now)
    rates.take("me", 25)  # a full bucket lets it through, and owes 20
    with pytest.raises(RateExceeded) as caught:
        rates.take("me")
    assert caught.value.retry_after.total_seconds() == pytest.approx((20 + 1) / PER_S)
    assert caught.value.client == "me"


def test_a_refusal_takes_nothing():
    rates = Rates(PER_S, BURST, monotonic=lambda: 0.0)
    rates.take("me", 4)
    for _ in range(100):
        assert rates.wait_s("me", 3) == pytest.approx(0.2)


def test_one_client_does_not_slow_another():
    rates = Rates(PER_S, BURST, monotonic=lambda: 0.0)
    rates.take("greedy", 1_000)
    rates.take("modest")


def test_memory_is_bounded_and_who_asks_on_is_not_forgotten():
    rates = Rates(PER_S, BURST, clients=10, monotonic=lambda: 0.0)
    rates.take("busy", 5)
    for number in range(1_000):
        rates.take(f"passer-{number}")
        assert rates.wait_s("busy") > 0
    assert len(rates) == 10


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1"),
        ("ipv6:%5B2001:db8:1:2:3::9%5D:4711", "2001:db8:1:2::/64"),
        ("ipv6:[2001:db8:1:2:ffff::1]:4712", "2001:db8:1:2::/64"),
        ("ipv6:[::ffff:192.0.2.1]:4711", "192.0.2.1"),
        ("ipv6:[fe80::1%25eth0]:4711", "fe80::/64"),
        ("unix:/run/socket", "unix"),
        ("unix:", "unix"),
    ],
)
def test_a_client_is_its_address_without_the_port_and_a_whole_site_in_ipv6(peer: str, client: str):
    assert client_at(peer) == client
