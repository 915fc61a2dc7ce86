"""What the predictor tells Prometheus.

Place in the flow: the edge tells of calls, the core of batches, and what only stands somewhere (a queue, a circuit, the models)
is looked at when Prometheus asks. Both tell on the event loop, into plain numbers that are turned into metrics when asked for:
the client library's own counters, with a lock each, would cost a request several times as much.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from predictor.handlers import Outcome, Stages
from predictor.messages import Answer, Serving

_PREFIX = "habitus_predictor"
_SECONDS = (0.0001, 0.0003, 0.001, 0.002, 0.003, 0.005, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 100, 300, 1000)
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400
_AGES_S = (1, 10, _MINUTE_S, 10 * _MINUTE_S, _HOUR_S, 6 * _HOUR_S, _DAY_S, 7 * _DAY_S, 30 * _DAY_S, 365 * _DAY_S)


@dataclass(frozen=True)
class Readings:
    """What is looked at when Prometheus asks, in a thread of its own; `inside` is by what a place is for."""

    waiting: Callable[[], int]
    inside: Callable[[], Mapping[str, int]]
    circuit_is_open: Callable[[], bool]
    log_dropped: Callable[[], int]
    servings: Callable[[], Collection[Serving]]


class Metrics(Collector):
    """The metrics of one process. Told on its event loop alone; `collect` may be called in any thread."""

    def __init__(self, readings: Readings | None = None) -> None:
        self.readings = readings
        self._calls: Counter[tuple[str, ...]] = Counter()
        self._call_seconds: dict[str, _Spread] = {}
        self._read_seconds, self._compute_seconds, self._log_seconds = (_Spread(_SECONDS) for _ in range(3))
        self._rows = _Spread(_ROWS)
        self._ages = _Spread(_AGES_S)
        self._answers: Counter[tuple[str, ...]] = Counter()
        self._defaults: Counter[str] = Counter()

    def called(self, method: str, code: str, seconds: float) -> None:
        """A call of `method` ended with `code`."""
        self._calls[method, code] += 1
        spread = self._call_seconds.get(method)
        if spread is None:
            spread = self._call_seconds[method] = _Spread(_SECONDS)
        spread.add(seconds)

    def answered(self, outcomes: Sequence[Outcome], took: Stages, now: datetime) -> None:
        """A batch that came at `now` has its outcomes."""
        self._rows.add(len(outcomes))
        self._read_seconds.add(took.read_s)
        self._compute_seconds.add(took.compute_s)
        self._log_seconds.add(took.log_s)
        for outcome in outcomes:
            if isinstance(outcome, Answer):
                self._answer(outcome, now)

    def _answer(self, answer: Answer, now: datetime) -> None:
        serving, origin = answer.serving, answer.origin
        self._answers[serving.alias, serving.model.version] += 1
        self._ages.add((now - origin.event_timestamp).total_seconds())
        for name in origin.defaults_used:
            self._defaults[name] += 1

    def collect(self) -> Iterator[Metric]:
        """All of it, as it stands now."""
        yield _counted("requests", "calls by method and status code", ("method", "code"), self._calls)
        yield _spread("request_seconds", "time from a call's message to its answer", "method", dict(self._call_seconds))
        stages = {"read": self._read_seconds, "compute": self._compute_seconds, "log": self._log_seconds}
        yield _spread("stage_seconds", "time of one step of a batch", "stage", stages)
        yield _spread("batch_rows", "requests answered together", None, {"": self._rows})
        yield _spread("feature_age_seconds", "age of an answer's features when it was given", None, {"": self._ages})
        yield _counted("answers", "answers by model", ("alias", "version"), self._answers)
        named: Counter[tuple[str, ...]] = Counter({(name,): count for name, count in self._defaults.copy().items()})
        yield _counted("defaults", "answers for which an input had no value", ("feature",), named)
        if self.readings is not None:
            yield from _looked_at(self.readings)


class _Spread:
    """How values are spread over buckets, each up to and with its bound."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Note one value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def told(self) -> tuple[list[tuple[str, float]], float]:
        """Cumulated counts by bound as Prometheus writes them, and the sum of all values."""
        bounds = [*(str(float(bound)) for bound in self._bounds), "+Inf"]
        return list(zip(bounds, accumulate(self._counts.copy()), strict=True)), self._sum


def _counted(name: str, told: str, labels: Sequence[str], counts: Counter[tuple[str, ...]]) -> Metric:
    family = CounterMetricFamily(f"{_PREFIX}_{name}", told, labels=labels)
    for values, count in counts.copy().items():  # a copy is made at once, whatever the event loop does meanwhile
        family.add_metric(values, count)
    return family


def _spread(name: str, told: str, label: str | None, spreads: Mapping[str, _Spread]) -> Metric:
    family = HistogramMetricFamily(f"{_PREFIX}_{name}", told, labels=[label] if label else [])
    for value, spread in spreads.items():
        buckets, total = spread.told()
        family.add_metric([value] if label else [], buckets, total)
    return family


def _looked_at(readings: Readings) -> Iterator[Metric]:
    yield GaugeMetricFamily(f"{_PREFIX}_waiting_requests", "requests that are in no batch yet", readings.waiting())
    inside = GaugeMetricFamily(f"{_PREFIX}_inside", "calls and streams that have a place", labels=["places"])
    for places, count in readings.inside().items():
        inside.add_metric([places], count)
    yield inside
    yield GaugeMetricFamily(f"{_PREFIX}_circuit_open", "1 while Redis is not asked", int(readings.circuit_is_open()))
    dropped = "prediction log entries that were lost"
    yield CounterMetricFamily(f"{_PREFIX}_log_dropped", dropped, readings.log_dropped())
    yield from _models(readings.servings())


def _models(servings: Collection[Serving]) -> Iterator[Metric]:
    info = GaugeMetricFamily(f"{_PREFIX}_model_info", "1, labelled with what serves", labels=["alias", "version", "evaluation"])
    told = "1 if the registered object answers, for want of a compiled form that equals it"
    fallback = GaugeMetricFamily(f"{_PREFIX}_model_fallback", told, labels=["alias"])
    for serving in servings:
        info.add_metric([serving.alias, serving.model.version, serving.model.evaluation], 1)
        fallback.add_metric([serving.alias], int(serving.model.compiled is None))
    yield from (info, fallback)
