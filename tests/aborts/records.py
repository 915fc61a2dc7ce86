"""Random person records from a seed: good and bad ones, late, with equal times, with labels, under a foreign partitioner."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

from runtime.kafka import partition_for
from tests.scene import BASE_MS

PARTITIONS = 2
_STEP_MS = 1_000
_HOUR_MS = 3_600_000
_LEVELS = ("Normal_Weight", "Obesity_Type_I", "no level", 7, ["Normal_Weight"])
# How often each kind comes: where every kind is to be met soon, and as in a stream that is mostly well.
ALL_KINDS = {"good": 6, "late": 2, "equal": 2, "labelled": 4, "invalid": 1, "undecodable": 1, "misrouted": 1, "null": 1}
MOSTLY_GOOD = {"good": 880, "late": 40, "equal": 30, "labelled": 40, "invalid": 4, "undecodable": 3, "misrouted": 2, "null": 1}


def random_messages(seed: int, count: int, *, persons: int = 12, mix: Mapping[str, int] = ALL_KINDS) -> Iterator[dict[str, Any]]:
    """`count` messages as arguments of a producer; the same for the same seed."""
    random = Random(seed)  # noqa: S311  no secret
    kinds, weights = zip(*mix.items(), strict=True)
    for number in range(count):
        (kind,) = random.choices(kinds, weights)
        yield _message(kind, f"p{random.randrange(persons)}", BASE_MS + number * _STEP_MS, random)


def _message(kind: str, person_id: str, timestamp_ms: int, random: Random) -> dict[str, Any]:
    fields = _fields(person_id, random) | _of_kind(kind, timestamp_ms, random)
    message = {"key": person_id.encode(), "value": json.dumps(fields).encode(), "timestamp_ms": timestamp_ms}
    match kind:
        case "undecodable":
            message["value"] = random.choice([b"\xff", b"{", b"[]", b""])
        case "null":
            message["value"] = None
        case "misrouted":
            message["partition"] = 1 - partition_for(person_id.encode(), PARTITIONS)
    return message


def _fields(person_id: str, random: Random) -> dict[str, Any]:
    return {
        "person_id": person_id,
        "Gender": random.choice(["Female", "Male"]),
        "Age": random.randint(18, 80),
        "Height": random.randint(150, 200) / 100,
        "Weight": random.randint(400, 1500) / 10,
        "FAF": random.choice([None, 0, 1.5, 3]),
        "SMOKE": random.choice(["yes", "no"]),
    }


def _of_kind(kind: str, timestamp_ms: int, random: Random) -> dict[str, Any]:
    match kind:
        case "late":
            return {"event_timestamp": _text(timestamp_ms - random.randint(1, 200 * 24) * _HOUR_MS)}
        case "equal":
            return {"event_timestamp": _text(BASE_MS - random.randint(0, 2) * _HOUR_MS)}
        case "labelled":
            return {"NObeyesdad": random.choice(_LEVELS)}
        case "invalid":
            return random.choice([{"Weight": 3}, {"Height": "tall"}, {"Gender": None}, {"event_timestamp": "yesterday"}])
    return {}


def _text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
