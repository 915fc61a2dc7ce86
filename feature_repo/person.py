"""The person record: its fields, their names in the published data, and every rule that a record must keep.

Place in the flow: the stream and the predictor validate with `parse_record`; what it rejects goes to the dead letters, with every
violated field named. Knows neither Feast, Kafka nor protobuf.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from runtime.errors import RecordRejected, Violation

INVALID_RECORD = "invalid_record"
MISROUTED = "misrouted"

FUTURE_TOLERANCE = timedelta(minutes=5)
# Nobody alive was born earlier; it also keeps times inside the nanosecond range of pandas, which Feast joins with.
EARLIEST_EVENT = datetime(1900, 1, 1, tzinfo=UTC)

LEVEL_FIELDS = ("obesity_level", "NObeyesdad")
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "Gender": "gender",
        "Age": "age_years",
        "Height": "height_m",
        "Weight": "weight_kg",
        "family_history_with_overweight": "family_history_overweight",
        "FAVC": "high_caloric_food",
        "FCVC": "vegetable_frequency",
        "NCP": "main_meals_per_day",
        "CAEC": "snacking_frequency",
        "SMOKE": "smokes",
        "CH2O": "water_intake",
        "SCC": "monitors_calories",
        "FAF": "physical_activity_frequency",
        "TUE": "technology_use",
        "CALC": "alcohol_frequency",
        "MTRANS": "transport",
    }
)
ATTRIBUTES: tuple[str, ...] = tuple(ALIASES.values())

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_YES_NO: Mapping[Any, bool] = MappingProxyType({"yes": True, "no": False})


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a bool is not a number")
    if isinstance(value, str):
        if not _NUMBER.fullmatch(value.strip()):
            raise ValueError(f"{value[:40]!r} is not a number")
        return float(value)
    if not isinstance(value, int | float):
        raise ValueError("not a number")
    try:
        number = float(value)
    except OverflowError as error:
        raise ValueError("the number is too large") from error
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _yes_or_no(value: object) -> object:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value in _YES_NO:
        return _YES_NO[value]
    raise ValueError("neither yes/no nor a bool")


def _aware_time(value: object) -> object:
    if isinstance(value, str):
        if not _RFC3339.fullmatch(value):
            raise ValueError("not an RFC 3339 time with a zone, such as 2024-05-01T12:00:00Z")
        value = datetime.fromisoformat(value.upper())
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError("not a time with a zone")
    try:
        moment = value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is outside the calendar") from error
    if moment < EARLIEST_EVENT:
        raise ValueError(f"before {EARLIEST_EVENT:%Y-%m-%d}")
    return moment


def _optional(validate: Any) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None else validate(value))


def _between(low: float, high: float) -> Any:
    return Field(ge=low, le=high, allow_inf_nan=False)


EventTime = Annotated[datetime, BeforeValidator(_aware_time)]
Number = BeforeValidator(_number)
OptionalNumber = _optional(_number)
OptionalFlag = Annotated[bool | None, _optional(_yes_or_no)]
PersonId = Annotated[str, Field(strict=True, pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Gender = Literal["Female", "Male"]
Frequency = Literal["no", "Sometimes", "Frequently", "Always"]
Transport = Literal["Automobile", "Bike", "Motorbike", "Public_Transportation", "Walking"]


class PersonRecord(BaseModel):
    """A person's attributes at one time. Units are in the names; survey scales have none.

    `event_timestamp` is None until `resolve_time` gave the record the time of its message.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    person_id: PersonId
    event_timestamp: Annotated[datetime | None, _optional(_aware_time)] = None
    gender: Gender
    age_years: Annotated[float, Number, _between(5, 120)]
    height_m: Annotated[float, Number, _between(0.5, 2.75)]
    weight_kg: Annotated[float, Number, _between(5, 700)]
    family_history_overweight: OptionalFlag = None
    high_caloric_food: OptionalFlag = None
    vegetable_frequency: Annotated[Annotated[float, _between(1, 3)] | None, OptionalNumber] = None
    main_meals_per_day: Annotated[Annotated[float, _between(1, 4)] | None, OptionalNumber] = None
    snacking_frequency: Frequency | None = None
    smokes: OptionalFlag = None
    water_intake: Annotated[Annotated[float, _between(1, 3)] | None, OptionalNumber] = None
    monitors_calories: OptionalFlag = None
    physical_activity_frequency: Annotated[Annotated[float, _between(0, 3)] | None, OptionalNumber] = None
    technology_use: Annotated[Annotated[float, _between(0, 2)] | None, OptionalNumber] = None
    alcohol_frequency: Frequency | None = None
    transport: Transport | None = None


CATEGORIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "gender": ("Female", "Male"),
        "snacking_frequency": ("no", "Sometimes", "Frequently", "Always"),
        "alcohol_frequency": ("no", "Sometimes", "Frequently", "Always"),
        "transport": ("Automobile", "Bike", "Motorbike", "Public_Transportation", "Walking"),
    }
)
FLAGS = ("family_history_overweight", "high_caloric_food", "smokes", "monitors_calories")
_KNOWN = frozenset(PersonRecord.model_fields)


@dataclass(frozen=True)
class ParsedRecord:
    """A valid record, the label that came inside it (as it came, None without one) and the fields that we do not know."""

    record: PersonRecord
    level: object | None
    unknown_fields: tuple[str, ...]


def parse_record(fields: Mapping[str, object]) -> ParsedRecord:
    """Validate one record given under our names, the published ones, or a mix of both.

    Raises `RecordRejected` naming every violated field.
    """
    given, level, unknown, violations = _canonical(fields)
    try:
        record = PersonRecord.model_validate(given)
    except ValidationError as error:
        violations += violations_of(error)
    if violations:
        raise RecordRejected(INVALID_RECORD, tuple(violations))
    return ParsedRecord(record, level, tuple(unknown))


def resolve_time(record: PersonRecord, message_time: datetime) -> PersonRecord:
    """The record with its event time: its own, or else that of the message.

    Raises `RecordRejected` if the time lies more than `FUTURE_TOLERANCE` after the message's. The wall clock is never asked,
    so that a re-run judges alike.
    """
    if record.event_timestamp is None:
        if message_time < EARLIEST_EVENT:
            raise _bad_time(f"absent, and the message's time is before {EARLIEST_EVENT:%Y-%m-%d}")
        return record.model_copy(update={"event_timestamp": message_time})
    if record.event_timestamp > message_time + FUTURE_TOLERANCE:
        raise _bad_time(f"more than {FUTURE_TOLERANCE} after the message's time {message_time.isoformat()}")
    return record


def violations_of(error: ValidationError) -> list[Violation]:
    """Pydantic's findings as violations of fields."""
    return [
        Violation(".".join(map(str, each["loc"])) or "record", each["msg"].removeprefix("Value error, "))
        for each in error.errors(include_url=False)
    ]


def _canonical(
    fields: Mapping[str, object],
) -> tuple[dict[str, object], object | None, list[str], list[Violation]]:
    given: dict[str, object] = {}
    levels: dict[str, object] = {}
    unknown: list[str] = []
    violations: list[Violation] = []
    for name, value in fields.items():
        known = ALIASES.get(name, name)
        if name in LEVEL_FIELDS:
            levels[name] = value
        elif known not in _KNOWN:
            unknown.append(name)
        elif known in given:
            violations.append(Violation(known, "given under both of its names"))
        else:
            given[known] = value
    if len(levels) > 1:
        violations.append(Violation(LEVEL_FIELDS[0], "given under both of its names"))
    return given, next(iter(levels.values()), None), unknown, violations


def _bad_time(description: str) -> RecordRejected:
    return RecordRejected(INVALID_RECORD, (Violation("event_timestamp", description),))
