"""Verifying again and again: the pace, what is counted, and what happens where a part is away."""

from itertools import islice

from prometheus_client import CollectorRegistry

from runtime.errors import Unavailable
from streams.verification.metrics import Metrics
from streams.verification.periodic import verify_periodically
from streams.verification.report import Counts, Freshness, Report

HELD = Report(5, 0, 0, 0, seconds=2.0, freshness=(Freshness(3, 9, 7, 6, 3, 1.5, 8.0),), pairs={"online_history": Counts()})
DIFFERS = Report(5, 2, 0, 0, positions=1, pairs={"online_history": Counts(mismatched=2)})


def test_each_result_is_told_to_prometheus_and_a_part_that_is_away_is_counted() -> None:
    registry = CollectorRegistry()
    outcomes, pauses = iter([HELD, None, DIFFERS]), []

    def verify() -> Report:
        report = next(outcomes)
        if report is None:
            raise Unavailable("kafka", "it is away")
        return report

    ticks = iter([0.0, 4.0, 10.0, 10.5, 20.0])
    runs = verify_periodically(verify, 10, Metrics(registry, lambda: 1000.0), sleep=pauses.append, clock=lambda: next(ticks))

    def told(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"habitus_verify_{name}", labels)

    assert next(runs) is HELD
    assert (told("checked_persons"), told("duration_seconds"), told("last_success_timestamp_seconds")) == (5, 2, 1000)
    assert told("unapplied_messages", partition="3") == 3
    assert told("oldest_unapplied_seconds", partition="3") == 1.5
    assert told("newest_applied_age_seconds", partition="3") == 8.0
    assert list(islice(runs, 1)) == [DIFFERS]
    assert told("differences", pair="online_history", kind="mismatched") == 2
    assert told("contradictory_positions") == 1
    assert [told("runs_total", outcome=outcome) for outcome in ("held", "differed", "failed")] == [1, 1, 1]
    assert pauses == [6.0, 9.5]


def test_the_last_success_stays_where_a_difference_is_found() -> None:
    registry, times = CollectorRegistry(), iter([1.0, 2.0, 3.0])
    metrics = Metrics(registry, lambda: next(times))
    metrics.done(HELD)
    metrics.done(DIFFERS)
    assert registry.get_sample_value("habitus_verify_last_success_timestamp_seconds") == 2.0
    assert registry.get_sample_value("habitus_verify_last_completed_timestamp_seconds") == 3.0
