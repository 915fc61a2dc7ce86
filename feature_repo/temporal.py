"""Features of a person over time: one deterministic fold over the person's records in log order.

Place in the flow: the stream, a backfill and an inline prediction all advance the same state with `advance`, so they
give the same bits. A row's features use only observations that are earlier in the log and whose event time is not
later than the row's own; the state advances with every record, late ones too, and is bounded by `LIMIT` observations.
"""

import struct
from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import fsum

LIMIT = 64  # observations kept a person; a daily record for two months, a weekly one for more than a year
WINDOW = timedelta(days=90)
STATE_VERSION = 1

_MICROSECOND = timedelta(microseconds=1)
_WINDOW_US = WINDOW // _MICROSECOND
_DAY_US = timedelta(days=1) // _MICROSECOND
_TREND_UNIT_US = timedelta(days=30) // _MICROSECOND
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HEADER = struct.Struct("<BiqqH")
_OBSERVATION = struct.Struct("<qqdd")


def to_us(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, order=True)
class Observation:
    """What the fold remembers of one record; ordered by event time, then by offset."""

    event_us: int
    offset: int
    weight_kg: float
    bmi: float


@dataclass(frozen=True)
class PersonState:
    """All that the fold knows of a person: the last record applied, how many there were, the latest observations in order."""

    epoch: int = 0
    offset: int = -1
    records_seen: int = 0
    observations: tuple[Observation, ...] = ()

    def encode(self) -> bytes:
        """The state as bytes, for the online store."""
        head = _HEADER.pack(STATE_VERSION, self.epoch, self.offset, self.records_seen, len(self.observations))
        return head + b"".join(_OBSERVATION.pack(o.event_us, o.offset, o.weight_kg, o.bmi) for o in self.observations)

    @classmethod
    def decode(cls, data: bytes) -> "PersonState":
        """The state in `data`. Raises `ValueError` for a version that this code does not know or a torn value."""
        if not data or data[0] != STATE_VERSION:
            raise ValueError(f"state version {data[:1].hex() or 'none'} is unknown; this code reads {STATE_VERSION}")
        try:
            _, epoch, offset, seen, count = _HEADER.unpack_from(data)
            body = data[_HEADER.size : _HEADER.size + count * _OBSERVATION.size]
            observations = tuple(Observation(*values) for values in _OBSERVATION.iter_unpack(body))
        except struct.error as error:
            raise ValueError("the state is torn") from error
        if len(observations) != count:
            raise ValueError("the state is torn")
        return cls(epoch, offset, seen, observations)


@dataclass(frozen=True)
class TemporalFeatures:
    """One row's features over time; None where there is nothing to compare with. `late`: a newer event time was seen before."""

    records_seen: int
    days_since_previous_record: float | None
    weight_change_kg: float | None
    bmi_change: float | None
    weight_min_90d_kg: float
    weight_max_90d_kg: float
    weight_mean_90d_kg: float
    weight_trend_kg_per_30d: float | None
    late: bool


def advance(state: PersonState, seen: Observation) -> tuple[PersonState, TemporalFeatures]:
    """Fold one record into the state; returns the new state and the record's features over time.

    The window holds the observations of the 90 days up to the record's own event time, the record included. An equal event time
    counts as a second record, zero days after the first.
    """
    earlier = state.observations[: bisect_right(state.observations, seen.event_us, key=lambda o: o.event_us)]
    previous = earlier[-1] if earlier else None
    window = [o for o in earlier if o.event_us > seen.event_us - _WINDOW_US] + [seen]
    weights = [o.weight_kg for o in window]
    features = TemporalFeatures(
        records_seen=state.records_seen + 1,
        days_since_previous_record=None if previous is None else (seen.event_us - previous.event_us) / _DAY_US,
        weight_change_kg=None if previous is None else seen.weight_kg - previous.weight_kg,
        bmi_change=None if previous is None else seen.bmi - previous.bmi,
        weight_min_90d_kg=min(weights),
        weight_max_90d_kg=max(weights),
        weight_mean_90d_kg=fsum(weights) / len(weights),
        weight_trend_kg_per_30d=_trend(window),
        late=len(earlier) < len(state.observations),
    )
    return _remember(state, seen), features


def _remember(state: PersonState, seen: Observation) -> PersonState:
    observations = sorted((*state.observations, seen))[-LIMIT:]
    return PersonState(state.epoch, seen.offset, state.records_seen + 1, tuple(observations))


def _trend(window: list[Observation]) -> float | None:
    """Least-squares slope of weight over time, kg per 30 days; None without two distinct times."""
    if window[0].event_us == window[-1].event_us:
        return None
    times = [(o.event_us - window[-1].event_us) / _TREND_UNIT_US for o in window]
    mean_time = fsum(times) / len(times)
    mean_weight = fsum(o.weight_kg for o in window) / len(window)
    spread = fsum((t - mean_time) ** 2 for t in times)
    return fsum((t - mean_time) * (o.weight_kg - mean_weight) for t, o in zip(times, window, strict=True)) / spread
