import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PersonRecord(_message.Message):
    __slots__ = ("person_id", "event_timestamp", "gender", "age_years", "height_m", "weight_kg", "family_history_overweight", "high_caloric_food", "vegetable_frequency", "main_meals_per_day", "snacking_frequency", "smokes", "water_intake", "monitors_calories", "physical_activity_frequency", "technology_use", "alcohol_frequency", "transport")
    PERSON_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    AGE_YEARS_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_M_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_KG_FIELD_NUMBER: _ClassVar[int]
    FAMILY_HISTORY_OVERWEIGHT_FIELD_NUMBER: _ClassVar[int]
    HIGH_CALORIC_FOOD_FIELD_NUMBER: _ClassVar[int]
    VEGETABLE_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    MAIN_MEALS_PER_DAY_FIELD_NUMBER: _ClassVar[int]
    SNACKING_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    SMOKES_FIELD_NUMBER: _ClassVar[int]
    WATER_INTAKE_FIELD_NUMBER: _ClassVar[int]
    MONITORS_CALORIES_FIELD_NUMBER: _ClassVar[int]
    PHYSICAL_ACTIVITY_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    TECHNOLOGY_USE_FIELD_NUMBER: _ClassVar[int]
    ALCOHOL_FREQUENCY_FIELD_NUMBER: _ClassVar[int]
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    person_id: str
    event_timestamp: _timestamp_pb2.Timestamp
    gender: str
    age_years: float
    height_m: float
    weight_kg: float
    family_history_overweight: bool
    high_caloric_food: bool
    vegetable_frequency: float
    main_meals_per_day: float
    snacking_frequency: str
    smokes: bool
    water_intake: float
    monitors_calories: bool
    physical_activity_frequency: float
    technology_use: float
    alcohol_frequency: str
    transport: str
    def __init__(self, person_id: _Optional[str] = ..., event_timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., gender: _Optional[str] = ..., age_years: _Optional[float] = ..., height_m: _Optional[float] = ..., weight_kg: _Optional[float] = ..., family_history_overweight: _Optional[bool] = ..., high_caloric_food: _Optional[bool] = ..., vegetable_frequency: _Optional[float] = ..., main_meals_per_day: _Optional[float] = ..., snacking_frequency: _Optional[str] = ..., smokes: _Optional[bool] = ..., water_intake: _Optional[float] = ..., monitors_calories: _Optional[bool] = ..., physical_activity_frequency: _Optional[float] = ..., technology_use: _Optional[float] = ..., alcohol_frequency: _Optional[str] = ..., transport: _Optional[str] = ...) -> None: ...
