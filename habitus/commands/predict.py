"""`habitus predict`: one prediction from the running predictor, by gRPC as any client would ask."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from runtime.errors import HabitusError, RecordRejected, Violation

_TIMEOUT_S = 10.0
_BAR_WIDTH = 30


class PredictionFailed(HabitusError):
    """The predictor answered with an error, or did not answer."""


def register(app: typer.Typer) -> None:
    """Add `predict` to `app`."""
    app.command()(predict)


def predict(  # noqa: PLR0917  typer's options; all but the command line name them
    person_id: Annotated[str, typer.Option(help="The person whose stored features are read.")] = "",
    record: Annotated[str, typer.Option(help="Attributes as one JSON object, under our names or the published ones.")] = "",
    max_age_s: Annotated[float | None, typer.Option(min=0, help="Refuse stored features older than this, in seconds.")] = None,
    alias: Annotated[str, typer.Option(help="Which model answers.")] = "champion",
    address: Annotated[str, typer.Option(help="host:port of the predictor; default HABITUS_PREDICTOR_ADDRESS.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the response as one JSON object.")] = False,
) -> None:
    """Estimate the obesity level of a person from stored features, from a record, or from a record over stored features.

    Example: habitus predict --person-id train-000001

    Example: habitus predict --record '{"gender": "Female", "age_years": 30, "height_m": 1.7, "weight_kg": 82}'
    """
    if not person_id and not record:
        raise typer.BadParameter("give --person-id, --record, or both", param_hint="--person-id")
    answer = _ask(_message(person_id, record, max_age_s, alias), address)
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        _show(answer)


def _message(person_id: str, record: str, max_age_s: float | None, alias: str) -> Any:
    """The request. Raises `RecordRejected` if `record` is no record that could be sent."""
    from protos.habitus.v1.predictor_pb2 import PredictRequest

    message = PredictRequest(person_id=person_id, model_alias=alias)
    if record:
        message.record.CopyFrom(_record(record))
    if max_age_s is not None:
        message.max_feature_age.FromMicroseconds(round(max_age_s * 1e6))
    return message


def _record(text: str) -> Any:
    """The fields in `text`, each valid by itself; whether they make a record is the predictor's to say. Nulls count as absent."""
    from feature_repo.person import ALIASES, INVALID_RECORD, PersonRecord
    from feature_repo.wire import decode_value
    from protos.habitus.v1 import person_pb2

    message, faults = person_pb2.PersonRecord(), []
    fields = decode_value(text.encode("utf-8", "surrogateescape"))
    for name, value in ((ALIASES.get(name, name), value) for name, value in fields.items() if value is not None):
        if name not in PersonRecord.model_fields:
            typer.echo(f"ignored: {name} is no attribute of a record", err=True)
            continue
        faults += _set(message, name, value)
    if faults:
        raise RecordRejected(INVALID_RECORD, tuple(faults), remedy="correct the named fields")
    return message


def _set(message: Any, name: str, value: object) -> list[Violation]:
    """Set one field of the record; returns what is wrong with the value instead, if anything is."""
    from pydantic import TypeAdapter, ValidationError

    from feature_repo.person import PersonRecord

    field = PersonRecord.model_fields[name]
    kind: Any = Annotated[field.annotation, field]
    try:
        valid: Any = TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        return [Violation(name, error.errors(include_url=False)[0]["msg"])]
    if name == "event_timestamp":
        message.event_timestamp.FromDatetime(valid)
    else:
        setattr(message, name, valid)
    return []


def _ask(message: Any, address: str) -> dict[str, Any]:
    """The response as a dictionary. Raises `PredictionFailed`, worded for people."""
    import grpc
    from google.protobuf.json_format import MessageToDict

    from habitus.commands.predictor_channel import credentials_of, open_channel
    from predictor.settings import PredictorSettings
    from protos.habitus.v1.predictor_pb2_grpc import PredictorStub

    settings = PredictorSettings()
    where = address or settings.predictor_address
    with open_channel(where, settings) as channel:
        try:
            stub = PredictorStub(channel)  # type: ignore[no-untyped-call]  # generated
            response = stub.Predict(message, timeout=_TIMEOUT_S, metadata=credentials_of(settings))
        except grpc.RpcError as error:
            raise _failure(error, where) from error
    answer: dict[str, Any] = MessageToDict(response, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    answer["features"]["source_offset"] = int(answer["features"]["source_offset"])  # protobuf's JSON has int64 as text
    return answer


def _failure(error: Any, where: str) -> PredictionFailed:
    """What went wrong and what to do, from the status and its details."""
    import grpc

    text, remedy = error.details(), _remedy(error)
    absent = "`habitus up` starts it; `habitus status` shows where it is"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        text, remedy = f"the predictor at {where} took longer than {_TIMEOUT_S:.0f} s", absent
    elif error.code() is grpc.StatusCode.UNAVAILABLE and not remedy:
        text, remedy = f"no predictor answers at {where}", absent
    elif error.code() in {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}:
        remedy = "set HABITUS_PREDICTOR_CLIENT_TOKEN to a token that the predictor knows"
    elif error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        remedy = remedy or "correct the named fields"
    return PredictionFailed(text, remedy=remedy)


def _remedy(error: Any) -> str:
    from google.rpc.error_details_pb2 import ErrorInfo
    from grpc_status import rpc_status

    status = rpc_status.from_call(error)
    info = ErrorInfo()
    for detail in status.details if status else ():
        if detail.Unpack(info):
            return str(info.metadata.get("remedy", ""))
    return ""


def _show(answer: Mapping[str, Any]) -> None:
    from rich.console import Console

    model, features = answer["model"], answer["features"]
    console = Console(highlight=False)
    console.print(f"[bold]{answer['level']}[/bold]")
    for level, probability in sorted(answer["probabilities"].items(), key=lambda each: -each[1]):
        console.print(f"  {level:<20} {probability:7.2%} {'█' * round(probability * _BAR_WIDTH)}")
    console.print(f"model     {model['name']} version {model['version']} ({model['alias']})")
    console.print(f"features  of {features['event_timestamp']}{_source(features)}")
    if features["defaults_used"]:
        console.print(f"          without a value: {', '.join(features['defaults_used'])}")
    console.print(f"request   {answer['request_id']}")


def _source(features: Mapping[str, Any]) -> str:
    if not features["source_topic"]:
        return ", computed from the record given"
    return f", stored from {features['source_topic']}[{features['source_partition']}]@{features['source_offset']}"
