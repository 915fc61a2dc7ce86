"""Events that services exchange about models and drift: JSON values with CloudEvents 1.0 headers (Kafka binding, binary mode).

Place in the flow: the monitor raises `DriftAlert`, trainer and predictor `ModelEvent`; the trainer, predictor and monitor listen.
The registry stays the truth about models: a `ModelEvent` only wakes its readers.
"""

from datetime import datetime
from typing import Any, Literal, TypeVar
from uuid import uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from runtime.errors import RecordRejected, Violation

Headers = list[tuple[str, bytes]]


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    id: str = Field(default_factory=lambda: uuid4().hex)
    time: AwareDatetime


class FeatureDrift(BaseModel):
    """What one feature did in the window. `statistic` is the test's own (`test`); `psi` is the effect size, no unit."""

    model_config = ConfigDict(frozen=True)

    name: str
    psi: float
    test: str
    statistic: float
    p_value: float
    drifted: bool


class DriftAlert(_Event):
    """A window of features differs from the reference of the model that serves."""

    type: Literal["habitus.drift.features"] = "habitus.drift.features"
    model_version: str
    window_from: AwareDatetime
    window_to: AwareDatetime
    events: int
    features: tuple[FeatureDrift, ...]
    summary: str

    @property
    def key(self) -> str:
        """The Kafka key."""
        return self.model_version


class ModelEvent(_Event):
    """A model version was registered, promoted, rolled back, rejected, or refused by a predictor; `decision` records why."""

    type: Literal["ModelRegistered", "ModelPromoted", "ModelRolledBack", "ModelRejected", "ModelRefused"]
    model_name: str
    model_version: str
    decision: dict[str, Any] = Field(default_factory=dict)

    @property
    def key(self) -> str:
        """The Kafka key."""
        return self.model_name


EventT = TypeVar("EventT", DriftAlert, ModelEvent)


def encode(event: DriftAlert | ModelEvent, source: str) -> tuple[bytes, bytes, Headers]:
    """Key, value and CloudEvents headers of a Kafka message from the service `source`."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_source": f"/habitus/{source}",
        "ce_type": event.type,
        "ce_time": _rfc3339(event.time),
        "content-type": "application/json",
    }
    return event.key.encode(), event.model_dump_json().encode(), [(k, v.encode()) for k, v in headers.items()]


def decode(kind: type[EventT], value: bytes) -> EventT:
    """The event in a message's value. Raises `RecordRejected` if it is none."""
    try:
        return kind.model_validate_json(value)
    except ValidationError as error:
        faults = tuple(Violation(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
        raise RecordRejected("invalid_event", faults) from error


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
