"""Obesity levels, and the label event that tells a person's level at the time of a record.

Place in the flow: producers and the stream (labels split off records) write label events; the stream validates them
here and keeps their history. A label's identity is (person_id, event_timestamp); of several, the one with the
greatest (message time, offset) counts.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from feature_repo.person import FUTURE_TOLERANCE, LEVEL_FIELDS, EventTime, PersonId, violations_of
from runtime.errors import RecordRejected, Violation

INVALID_LABEL = "invalid_label"

Level = Literal[
    "Insufficient_Weight",
    "Normal_Weight",
    "Overweight_Level_I",
    "Overweight_Level_II",
    "Obesity_Type_I",
    "Obesity_Type_II",
    "Obesity_Type_III",
]
# In the order of growing weight.
LEVELS: tuple[str, ...] = Level.__args__  # type: ignore[attr-defined]


class PersonLabel(BaseModel):
    """The obesity level of a person at the time of the record that the label describes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    person_id: PersonId
    event_timestamp: EventTime
    obesity_level: Annotated[Level, Field()]


def parse_label(fields: Mapping[str, object], message_time: datetime) -> PersonLabel:
    """Validate one label event; the level may come under its published name. Raises `RecordRejected` naming every
    violated field. As with records, the event time may lie at most `FUTURE_TOLERANCE` after the message's.
    """
    ours, published = LEVEL_FIELDS
    if ours in fields and published in fields:
        raise RecordRejected(INVALID_LABEL, (Violation(ours, "given under both of its names"),))
    given = {ours if name == published else name: value for name, value in fields.items()}
    try:
        label = PersonLabel.model_validate(given)
    except ValidationError as error:
        raise RecordRejected(INVALID_LABEL, tuple(violations_of(error))) from error
    if label.event_timestamp > message_time + FUTURE_TOLERANCE:
        reason = f"more than {FUTURE_TOLERANCE} after the message's time {message_time.isoformat()}"
        raise RecordRejected(INVALID_LABEL, (Violation("event_timestamp", reason),))
    return label
