"""The prediction log's entry: what was answered, by which model, from which record's features.

Place in the flow: the predictor writes it to topic `predictions`; the stream keeps its history; the monitor joins it with labels.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from feature_repo.labels import LEVELS, Level
from feature_repo.person import EARLIEST_EVENT, violations_of
from feature_repo.wire import encode_row
from runtime.errors import RecordRejected

INVALID_PREDICTION = "invalid_prediction"
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
# What the history's columns and the JSON writer can hold; a greater number would stop the stream, not just its entry.
Int32 = Annotated[int, Field(ge=0, le=2**31 - 1)]
Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]
EntryTime = Annotated[AwareDatetime, Field(ge=EARLIEST_EVENT, lt=datetime(2262, 1, 1, tzinfo=UTC))]


class LoggedPrediction(TypedDict):
    """What the predictor writes of an answer: a `PredictionLogEntry`'s fields; to validate them costs more than to send them."""

    request_id: str
    person_id: str
    model_name: str
    model_version: str
    model_alias: str | None
    obesity_level: str
    probabilities: Mapping[str, float]
    features: Mapping[str, Any]
    event_timestamp: datetime
    feature_topic: str | None
    feature_partition: int | None
    feature_offset: int | None
    served_at: datetime
    shadow: bool


def encode_prediction(entry: LoggedPrediction) -> bytes:
    """The entry as a message's value."""
    return encode_row(entry)


class PredictionLogEntry(BaseModel):
    """One answered prediction, as the stream and the monitor read it.

    `person_id` is empty for an inline record that named no person.

    `features` are the model's inputs as used, of the time `event_timestamp`. `feature_*` name the Kafka record behind what was
    stored of the person, for an inline record of that person too; None where nothing is stored. A `shadow` went to nobody:
    another model scored the features of the answer that has the same `request_id`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    request_id: str
    person_id: str
    model_name: str
    model_version: str
    model_alias: str | None
    obesity_level: Level
    probabilities: dict[Level, Probability]
    features: dict[str, float | Int64 | bool | str | None]
    event_timestamp: EntryTime
    feature_topic: str | None
    feature_partition: Int32 | None
    feature_offset: Int64 | None
    served_at: EntryTime
    shadow: bool = False

    def history_row(self, topic: str, partition: int, offset: int, ingested_at: datetime) -> dict[str, Any]:
        """The entry as a row of `schemas.PREDICTIONS`, with the message it came in."""
        plain = self.model_dump(exclude={"probabilities", "features"})
        return plain | {
            **{f"p_{level}": self.probabilities.get(level, 0.0) for level in LEVELS},  # type: ignore[call-overload]
            "features": encode_row(self.features).decode(),
            "ingested_at": ingested_at,
            "source_topic": topic,
            "source_partition": partition,
            "source_offset": offset,
        }


def parse_prediction(fields: Mapping[str, object]) -> PredictionLogEntry:
    """Validate one entry. Raises `RecordRejected` naming every violated field."""
    try:
        return PredictionLogEntry.model_validate(fields)
    except ValidationError as error:
        raise RecordRejected(INVALID_PREDICTION, tuple(violations_of(error))) from error
