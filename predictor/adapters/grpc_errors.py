"""Errors to gRPC statuses with `google.rpc` details: the one place that knows codes.

| error | code | details |
| --- | --- | --- |
| `UnknownPerson`, `UnknownModel` | NOT_FOUND | |
| `InvalidRequest`, `RecordRejected` | INVALID_ARGUMENT | BadRequest with every violated field |
| `StaleFeatures`, `ModelRefused` | FAILED_PRECONDITION | |
| `DeadlinePassed` | DEADLINE_EXCEEDED | |
| `NotAuthenticated` | UNAUTHENTICATED | |
| `NotPermitted` | PERMISSION_DENIED | |
| `Overloaded`, `RateExceeded` | RESOURCE_EXHAUSTED | RetryInfo |
| `InfrastructureError` (`Unavailable`, `CircuitOpen`) | UNAVAILABLE | RetryInfo |
Each also carries ErrorInfo, whose metadata hold the remedy.
"""

import re

from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from runtime.errors import (
    DeadlinePassed,
    HabitusError,
    InfrastructureError,
    InvalidRequest,
    ModelRefused,
    NotAuthenticated,
    NotPermitted,
    Overloaded,
    RecordRejected,
    StaleFeatures,
    Unavailable,
    UnknownModel,
    UnknownPerson,
    Violation,
)

DETAILS_KEY = "grpc-status-details-bin"
DOMAIN = "habitus"
TEXT_LIMIT = 500  # characters of a message or description
VIOLATIONS_LIMIT = 18  # a record has as many fields
_CODES: tuple[tuple[type[HabitusError], int], ...] = (
    (UnknownPerson, code_pb2.NOT_FOUND),
    (UnknownModel, code_pb2.NOT_FOUND),
    (InvalidRequest, code_pb2.INVALID_ARGUMENT),
    (RecordRejected, code_pb2.INVALID_ARGUMENT),
    (StaleFeatures, code_pb2.FAILED_PRECONDITION),
    (ModelRefused, code_pb2.FAILED_PRECONDITION),
    (DeadlinePassed, code_pb2.DEADLINE_EXCEEDED),
    (NotAuthenticated, code_pb2.UNAUTHENTICATED),
    (NotPermitted, code_pb2.PERMISSION_DENIED),
    (Overloaded, code_pb2.RESOURCE_EXHAUSTED),
    (InfrastructureError, code_pb2.UNAVAILABLE),
)


def status_of(error: HabitusError) -> status_pb2.Status:
    """The status that tells a client of `error`; INTERNAL for one that no request should meet."""
    code = next((code for kind, code in _CODES if isinstance(error, kind)), code_pb2.INTERNAL)
    status = status_pb2.Status(code=code, message=shortened(str(error)))
    for detail in _details(error):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


def shortened(text: str) -> str:
    """`text` as it fits: statuses travel in headers, which clients limit to 8 KiB."""
    return text if len(text) <= TEXT_LIMIT else text[: TEXT_LIMIT - 1] + "…"


def _details(error: HabitusError) -> list[Message]:
    reason = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).upper()
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata={"remedy": error.remedy} if error.remedy else {})
    ]
    if isinstance(error, InvalidRequest | RecordRejected):
        details.append(_bad_request(error.violations))
    if isinstance(error, Unavailable | Overloaded):
        details.append(_retry_info(error))
    return details


def _bad_request(violations: tuple[Violation, ...]) -> Message:
    found = [
        error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.description)
        for v in violations[:VIOLATIONS_LIMIT]
    ]
    request: Message = error_details_pb2.BadRequest(field_violations=found)
    return request


def _retry_info(error: Unavailable | Overloaded) -> Message:
    delay = Duration()
    delay.FromTimedelta(error.retry_after)
    info: Message = error_details_pb2.RetryInfo(retry_delay=delay)
    return info
