"""Protobuf messages to requests of the core, and its answers to protobuf."""

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.rpc import status_pb2

from feature_repo.wire import record_fields
from predictor.messages import Answer, FeatureOrigin, PredictionRequest, Serving
from protos.habitus.v1 import predictor_pb2 as pb
from runtime.errors import InvalidRequest, Violation
from runtime.registry import Alias

_NO_AGE = timedelta(0)


def to_request(message: pb.PredictRequest, deadline: datetime | None = None) -> PredictionRequest:
    """The request in `message`, wanted by `deadline`.

    Raises `InvalidRequest` or `RecordRejected` for a time or duration outside the calendar.
    """
    return PredictionRequest(
        person_id=message.person_id,
        record=record_fields(message.record) if message.HasField("record") else None,
        request_id=message.request_id,
        max_feature_age=_age(message.max_feature_age) if message.HasField("max_feature_age") else None,
        model_alias=message.model_alias or Alias.CHAMPION,
        deadline=deadline,
    )


def to_response(answer: Answer, now: datetime) -> pb.PredictResponse:
    """The message of `answer`, which is given at `now`."""
    return pb.PredictResponse(
        level=answer.level,
        probabilities=answer.probabilities,
        model=to_model_info(answer.serving),
        features=_feature_info(answer.origin, now),
        request_id=answer.request_id,
    )


def to_failure(status: status_pb2.Status) -> pb.PredictResult:
    """The result of a request of a batch that failed with `status`."""
    return pb.PredictResult(error=pb.PredictError(code=status.code, message=status.message))


def to_model_info(serving: Serving) -> pb.ModelInfo:
    """Which model serves."""
    return pb.ModelInfo(name=serving.model.name, version=serving.model.version, alias=serving.alias)


def _feature_info(origin: FeatureOrigin, now: datetime) -> pb.FeatureInfo:
    info = pb.FeatureInfo(
        source_topic=origin.source_topic,
        source_partition=origin.source_partition,
        source_offset=origin.source_offset,
        defaults_used=origin.defaults_used,
    )
    info.event_timestamp.FromDatetime(origin.event_timestamp)
    info.age.FromTimedelta(max(now - origin.event_timestamp, _NO_AGE))
    return info


def _age(duration: Duration) -> timedelta:
    try:
        return duration.ToTimedelta()
    except (ValueError, OverflowError) as error:
        raise InvalidRequest(Violation("max_feature_age", f"no duration ({error})")) from error
