"""A feature row as it arrives on `person.features`: the attributes, whose they are, when, and which record they come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType, NoneType
from typing import Any

import orjson

from feature_repo.person import ATTRIBUTES, CATEGORIES, FLAGS
from runtime.errors import RecordRejected, Violation

INVALID_ROW = "invalid_feature_row"


@dataclass(frozen=True)
class FeatureRow:
    """One person's attributes at a time. `source` and `source_offset` name the record in the raw log, the row's identity."""

    person_id: str
    event_timestamp: datetime
    source: str
    source_offset: int
    attributes: Mapping[str, Any]


def parse_row(value: bytes) -> FeatureRow:
    """The row in a message's value, its time in UTC. Raises `RecordRejected` if it is none, naming every violated field."""
    fields = _fields(value)
    if wrong := [name for name, types in _TYPES.items() if name not in fields or type(fields[name]) not in types]:
        raise RecordRejected(INVALID_ROW, tuple(Violation(name, "absent, or of another type") for name in wrong))
    return FeatureRow(
        person_id=fields["person_id"],
        event_timestamp=_moment(fields["event_timestamp"]),
        source=f"{fields['source_topic']}-{fields['source_partition']}",
        source_offset=fields["source_offset"],
        attributes={name: fields[name] for name in ATTRIBUTES},
    )


def _types_of(attribute: str) -> tuple[type, ...]:
    if attribute in CATEGORIES:
        return str, NoneType
    return (bool, NoneType) if attribute in FLAGS else (int, float, NoneType)


# The very types, no subclasses: to Python a bool is an int.
_TYPES: Mapping[str, tuple[type, ...]] = MappingProxyType(
    dict.fromkeys(("person_id", "event_timestamp", "source_topic"), (str,))
    | dict.fromkeys(("source_partition", "source_offset"), (int,))
    | {name: _types_of(name) for name in ATTRIBUTES}
)


def _fields(value: bytes) -> dict[str, Any]:
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise _rejected("value", str(error)) from error
    if not isinstance(fields, dict):
        raise _rejected("value", "no JSON object")
    return fields


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise _rejected("event_timestamp", "a time without a zone")
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _rejected("event_timestamp", str(error)) from error


def _rejected(field: str, description: str) -> RecordRejected:
    return RecordRejected(INVALID_ROW, (Violation(field, description),))
