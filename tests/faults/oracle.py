"""What the stream must make of published messages, computed naively and with none of its code.

Written for small logs: of every record everything that its person remembers is sorted and looked through again.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import fmean, linear_regression
from typing import Any

Place = tuple[int, int]  # partition and offset
Home = Mapping[str, int]  # the partition in which a person's messages belong
_REMEMBERED = 64
_WINDOW = timedelta(days=90)
_MONTH = timedelta(days=30)
_DAY = timedelta(days=1)
_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, order=True)
class Seen:
    """One accepted record of a person."""

    time: datetime
    offset: int
    weight: float
    bmi: float


@dataclass
class Expected:
    """Rows by place, rejected messages by place with their class, the newest row's place and all levels by person and time."""

    rows: dict[Place, dict[str, Any]] = field(default_factory=dict)
    rejected: dict[Place, str] = field(default_factory=dict)
    online: dict[str, Place] = field(default_factory=dict)
    labels: dict[tuple[str, datetime], str] = field(default_factory=dict)


def time_of(message: Any) -> datetime:
    """When the producer stamped `message`."""
    return datetime.fromtimestamp(message.timestamp / 1000, UTC)


def expect(records: Iterable[Any], labels: Iterable[Any], home: Home) -> Expected:
    """What becomes of all messages of person.records and person.labels; `home` is the right partition of each person."""
    expected = Expected()
    memories: dict[str, list[Seen]] = defaultdict(list)
    for message in sorted(records, key=lambda each: (each.partition, each.offset)):
        content = json.loads(message.value)
        person = content["person_id"]
        time = datetime.fromisoformat(content["event_timestamp"]) if "event_timestamp" in content else time_of(message)
        place = (message.partition, message.offset)
        if message.partition != home[person]:
            expected.rejected[place] = "misrouted"
        elif time > time_of(message) + _TOLERANCE:
            expected.rejected[place] = "invalid_record"
        else:
            weight = float(content["Weight"])
            seen = Seen(time, message.offset, weight, weight / content["Height"] ** 2)
            expected.rows[place] = {"person_id": person, "event_timestamp": time} | _features(memories[person], seen)
            memories[person].append(seen)
    expected.online = _newest(expected.rows)
    expected.labels = _last_said(labels, home)
    return expected


def _features(memory: list[Seen], now: Seen) -> dict[str, Any]:
    kept: list[Seen] = []
    for each in memory:
        kept = sorted([*kept, each])[-_REMEMBERED:]
    past = [each for each in kept if each.time <= now.time]
    window = [each for each in past if each.time > now.time - _WINDOW] + [now]
    weights = [each.weight for each in window]
    months = [(each.time - now.time) / _MONTH for each in window]
    return {
        "bmi": now.bmi,
        "records_seen": len(memory) + 1,
        "late": len(past) < len(kept),
        "days_since_previous_record": (now.time - past[-1].time) / _DAY if past else None,
        "weight_change_kg": now.weight - past[-1].weight if past else None,
        "bmi_change": now.bmi - past[-1].bmi if past else None,
        "weight_min_90d_kg": min(weights),
        "weight_max_90d_kg": max(weights),
        "weight_mean_90d_kg": fmean(weights),
        "weight_trend_kg_per_30d": linear_regression(months, weights).slope if len(set(months)) > 1 else None,
    }


def _newest(rows: Mapping[Place, Mapping[str, Any]]) -> dict[str, Place]:
    ranked = sorted((row["event_timestamp"], place[1], row["person_id"], place) for place, row in rows.items())
    return {person: place for _, _, person, place in ranked}


def _last_said(labels: Iterable[Any], home: Home) -> dict[tuple[str, datetime], str]:
    """Of each person and event time the level said last, by the messages' timestamps and then by their offsets."""
    said: dict[tuple[str, datetime], str] = {}
    for message in sorted(labels, key=lambda each: (each.timestamp, each.offset)):
        content = json.loads(message.value)
        time = datetime.fromisoformat(content["event_timestamp"])
        if message.partition == home[content["person_id"]] and time <= time_of(message) + _TOLERANCE:
            said[content["person_id"], time] = content["obesity_level"]
    return said
