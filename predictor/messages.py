"""Requests and answers as the core knows them; no transport's types.

Place in the flow: a transport makes requests of its messages and messages of answers; `handlers` turns one into the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from feature_repo.predictions import LoggedPrediction
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
    """A model and the alias that it serves under; a request holds one from its look-up to its answer."""

    model: ServedModel
    alias: str


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
    """The answer to one request. `probabilities` are by level and sum to 1; `inputs` are the model's inputs as used."""

    request_id: str
    person_id: str
    level: str
    probabilities: Mapping[str, float]
    serving: Serving
    origin: FeatureOrigin
    inputs: Mapping[str, Any]

    def log_entry(self, served_at: datetime) -> LoggedPrediction:
        """The entry of the prediction log."""
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
        )
