"""A feature row as it arrives on `person.features`: the attributes, whose they are, when, and which record they come from."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from feature_repo.person import ATTRIBUTES
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
    """The row in a message's value. Raises `RecordRejected` if it is none."""
    try:
        fields = orjson.loads(value)
        return FeatureRow(
            person_id=fields["person_id"],
            event_timestamp=datetime.fromisoformat(fields["event_timestamp"]),
            source=f"{fields['source_topic']}-{fields['source_partition']}",
            source_offset=int(fields["source_offset"]),
            attributes={name: fields[name] for name in ATTRIBUTES},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RecordRejected(INVALID_ROW, (Violation("value", f"{type(error).__name__}: {error}"),)) from error
