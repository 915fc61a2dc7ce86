"""What a stream worker tells Prometheus.

Place in the flow: `app` tells of each batch, `Persistence` of each try of an effect, the watchdog how the group stands,
`bootstrap` of crashes. Names end in their unit. Counts are of this process: after a crash a message may be counted again.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streams.handlers import Applied
from streams.letters.dead_letters import DeadLetter
from streams.messages import Message, Shard
from streams.persistence import Attempt
from streams.shelf import Outgoing, Publisher
from streams.supervision.watchdog import Standing

MS_PER_S = 1000
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
_MESSAGES = (1, 10, 100, 300, 1000, 2000, 5000)
# The effects by the names that they have in the log. What is left of a batch's time is computing: validation and fold.
STAGES = {
    "publishing dead letters": "dead_letters",
    "publishing labels": "labels",
    "reading states": "states",
    "writing history": "history",
    "publishing features": "publish",
    "writing online rows": "online",
    "catching up": "catch_up",
}
COMPUTE = "compute"


class Metrics:
    """The metrics of one worker, in `registry`; for any number of threads. `now_s` is the wall clock, in seconds since 1970."""

    def __init__(self, registry: CollectorRegistry, now_s: Callable[[], float] = time.time) -> None:
        self._now_s = now_s
        self._effects = threading.local()

        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(f"habitus_streams_{name}", told, labels, registry=registry)

        def gauge(name: str, told: str, *labels: str) -> Gauge:
            return Gauge(f"habitus_streams_{name}", told, labels, registry=registry)

        self._counts = {
            "accepted": counter("accepted", "messages that reached the history", "topic"),
            "rejected": counter("rejected", "messages that became dead letters", "topic"),
            "redelivered": counter("redelivered", "messages that were in the history already", "topic"),
            "labels": counter("labels", "labels split off records", "topic"),
            "late": counter("late", "rows that came after one of a newer event time", "topic"),
            "unknown_fields": counter("unknown_fields", "fields of records that nobody knows", "topic"),
        }
        self._dead_letters = counter("dead_letters", "dead letters by class", "topic", "error_class")
        self._retries = counter("retries", "tries of an effect that failed", "stage")
        self._batch = Histogram(
            "habitus_streams_batch_messages", "messages handled at once", ["topic"], buckets=_MESSAGES, registry=registry
        )
        self._stage = Histogram(
            "habitus_streams_stage_seconds", "time of one effect, or of computing", ["stage"], buckets=_SECONDS, registry=registry
        )
        self._applied = gauge("applied_offset", "last offset that was handled", "topic", "partition")
        self._standings = _Standings()
        registry.register(self._standings)
        self._freshness = gauge("freshness_seconds", "age of the newest applied message, by its timestamp in Kafka", "topic")
        self._newest: dict[str, int] = {}
        self.failures = gauge("unacknowledged_lives", "runs before this one that ended without an acknowledgement")
        self.pause_seconds = gauge("crash_pause_seconds", "how long this run waited before it worked, after crashes")

    def handled(self, topic: str, messages: Sequence[Message], applied: Applied, seconds: float) -> None:
        """A batch was handled in `seconds`; called in the thread that did it."""
        for name, count in vars(applied).items():
            if count and name in self._counts:
                self._counts[name].labels(topic).inc(count)
        self._batch.labels(topic).observe(len(messages))
        self._stage.labels(COMPUTE).observe(max(seconds - self._take_effects(), 0))
        for message in messages:
            self._newest_of(topic, message.timestamp_ms)
        for shard, last in {message.shard: message.offset for message in messages}.items():
            self._applied.labels(shard.topic, shard.partition).set(last)

    def tried(self, attempt: Attempt) -> None:
        """An effect was tried; called in the thread that did it."""
        stage = STAGES.get(attempt.what, attempt.what.replace(" ", "_"))
        self._stage.labels(stage).observe(attempt.seconds)
        self._effects.seconds = self._take_effects() + attempt.seconds
        if attempt.failed:
            self._retries.labels(stage).inc()

    def buried(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """Dead letters of the source `topic` were published."""
        for letter in letters:
            self._dead_letters.labels(topic, dict(letter.headers)["error_class"].decode()).inc()

    def stands(self, standings: Mapping[Shard, Standing]) -> None:
        """How the group stands with the owned shards; what is owned no more is told no more."""
        self._standings.now = dict(standings)

    def _newest_of(self, topic: str, timestamp_ms: int) -> None:
        if topic not in self._newest:
            self._freshness.labels(topic).set_function(lambda: self._now_s() - self._newest[topic] / MS_PER_S)
        self._newest[topic] = max(self._newest.get(topic, timestamp_ms), timestamp_ms)

    def _take_effects(self) -> float:
        """Seconds of effects of this thread since this was asked last."""
        seconds: float = getattr(self._effects, "seconds", 0.0)
        self._effects.seconds = 0.0
        return seconds


class _Standings(Collector):
    """How the group stands with the shards that are owned now, and with no other."""

    now: Mapping[Shard, Standing] = {}

    def collect(self) -> Iterator[Metric]:
        """Lag and acknowledged offset of each shard."""
        places = ["topic", "partition"]
        lag = GaugeMetricFamily("habitus_streams_lag_messages", "offsets that are not acknowledged", labels=places)
        acknowledged = GaugeMetricFamily("habitus_streams_acknowledged_offset", "next offset to be acknowledged", labels=places)
        for shard, standing in self.now.items():
            place = [shard.topic, str(shard.partition)]
            lag.add_metric(place, standing.lag)
            acknowledged.add_metric(place, standing.acknowledged)
        yield from (lag, acknowledged)


class Counted:
    """A publisher whose dead letters are counted by class, once they are acknowledged."""

    def __init__(self, publisher: Publisher, metrics: Metrics) -> None:
        self._publisher = publisher
        self._metrics = metrics

    def dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        """As the publisher."""
        self._publisher.dead_letters(topic, letters)
        self._metrics.buried(topic, letters)

    def labels(self, labels: Sequence[Outgoing]) -> None:
        """As the publisher."""
        self._publisher.labels(labels)

    def features(self, rows: Sequence[Outgoing]) -> None:
        """As the publisher."""
        self._publisher.features(rows)
