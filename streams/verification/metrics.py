"""The last verification for Prometheus. Where Kafka or Redis did not answer, the figures stay and `failed` runs count."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge

from streams.verification.report import Counts, Freshness, Report

HELD, DIFFERED, FAILED = "held", "differed", "failed"


class Metrics:
    """Gauges of one process, in `registry`; `now_s` is the wall clock, in seconds since 1970."""

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s

        def gauge(name: str, told: str, *labels: str) -> Gauge:
            return Gauge(f"habitus_verify_{name}", told, labels, registry=registry)

        self._runs = Counter("habitus_verify_runs", "verifications, by outcome", ["outcome"], registry=registry)
        for outcome in (HELD, DIFFERED, FAILED):
            self._runs.labels(outcome)
        self._checked = gauge("checked_persons", "persons that were compared")
        self._differences = gauge("differences", "persons (of the history: rows) that differ", "pair", "kind")
        self._positions = gauge("contradictory_positions", "watermarks and ends that contradict one another")
        self._unapplied = gauge("unapplied_messages", "offsets of the log above the watermark", "partition")
        self._oldest = gauge(
            "oldest_unapplied_seconds", "age of the oldest message that is not applied; 0 if all are", "partition"
        )
        self._newest = gauge("newest_applied_age_seconds", "age of the newest message that is applied", "partition")
        self._duration = gauge("duration_seconds", "how long the verification took")
        self._completed = gauge("last_completed_timestamp_seconds", "when a verification last came to an end")
        self._held = gauge("last_success_timestamp_seconds", "when a verification last found no difference")

    def done(self, report: Report) -> None:
        """A verification came to an end."""
        self._runs.labels(HELD if report.holds else DIFFERED).inc()
        self._checked.set(report.checked)
        self._positions.set(report.positions)
        self._duration.set(report.seconds)
        self._completed.set(self._now_s())
        if report.holds:
            self._held.set(self._now_s())
        for pair, counts in report.pairs.items():
            self._differs(pair, counts)
        for freshness in report.freshness:
            self._is_fresh(freshness)

    def failed(self) -> None:
        """Kafka, Redis or the history could not be read."""
        self._runs.labels(FAILED).inc()

    def _differs(self, pair: str, counts: Counts) -> None:
        for kind, count in vars(counts).items():
            self._differences.labels(pair, kind).set(count)

    def _is_fresh(self, freshness: Freshness) -> None:
        self._unapplied.labels(freshness.partition).set(freshness.unapplied)
        self._oldest.labels(freshness.partition).set(freshness.oldest_unapplied_s or 0)
        if freshness.newest_applied_s is not None:
            self._newest.labels(freshness.partition).set(freshness.newest_applied_s)
