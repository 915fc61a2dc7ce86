"""Requests and answers as the core knows them; no transport's types.

Place in the flow: a transport makes requests of its messages and messages of answers; `handlers` turns one into the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Self

from feature_repo.predictions import LoggedPrediction
from predictor.canary import is_chosen
from predictor.model import ServedModel
from runtime.registry import Alias


@dataclass(frozen=True)
class PredictionRequest:
    """One request as it came; `record` holds a record's fields, not validated yet. None and "" mean: not given.

    Nobody waits for an answer after `deadline`.
    """

    person_id: str = ""
    record: Mapping[str, object] | None = None
    request_id: str = ""
    max_feature_age: timedelta | None = None
    model_alias: str = Alias.CHAMPION
    deadline: datetime | None = None


@dataclass(frozen=True)
class Serving:
    """A model and the alias that it serves under; a request holds one from its look-up to its answer.

    With it come who answers `canary_percent` of the persons in its place, and whose shadows score the features of its answers.
    """

    model: ServedModel
    alias: str
    canary: Self | None = None
    canary_percent: float = 0.0
    shadows: tuple[Self, ...] = ()

    def for_person(self, person_id: str) -> "Serving":
        """What answers this person: the canary for those whom it has, else this; nobody ("") is never a canary's."""
        if self.canary is not None and is_chosen(person_id, self.canary_percent):
            return self.canary
        return self

    @cached_property
    def further_inputs(self) -> tuple[str, ...]:
        """What the shadows read beyond the model's inputs; to be read with them and handed on in `Answer.further`."""
        mine = set(self.model.inputs)
        return tuple(dict.fromkeys(name for each in self.shadows for name in each.model.inputs if name not in mine))


@dataclass(frozen=True)
class FeatureOrigin:
    """Where an answer's features came from: their event time, the Kafka record behind stored ones, the inputs without a value."""

    event_timestamp: datetime
    defaults_used: tuple[str, ...]
    source_topic: str | None = None
    source_partition: int | None = None
    source_offset: int | None = None


@dataclass(frozen=True)
class Answer:
    """The answer to one request. `probabilities` are by level and sum to 1; `inputs` are the model's inputs as used.

    `further` holds the values of `serving.further_inputs`, for its shadows.
    """

    request_id: str
    person_id: str
    level: str
    probabilities: Mapping[str, float]
    serving: Serving
    origin: FeatureOrigin
    inputs: Mapping[str, Any]
    further: Mapping[str, Any] = field(default_factory=dict)

    def log_entry(self, served_at: datetime, *, shadow: bool = False) -> LoggedPrediction:
        """The entry of the prediction log; `shadow`: of what went to nobody."""
        return LoggedPrediction(
            request_id=self.request_id,
            person_id=self.person_id,
            model_name=self.serving.model.name,
            model_version=self.serving.model.version,
            model_alias=self.serving.alias,
            obesity_level=self.level,
            probabilities=self.probabilities,
            features=dict(self.inputs),
            event_timestamp=self.origin.event_timestamp,
            feature_topic=self.origin.source_topic,
            feature_partition=self.origin.source_partition,
            feature_offset=self.origin.source_offset,
            served_at=served_at,
            shadow=shadow,
        )
