"""What a request must be before any store or model is asked about it.

Place in the flow: the first step of `handlers`; what breaks the contract here costs nothing else.
"""

import re
from datetime import datetime, timedelta

from predictor.messages import PredictionRequest
from runtime.errors import DeadlinePassed, InvalidRequest, Violation

_PERSON_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_ALIAS = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REQUEST_ID_LIMIT = 128


def in_time(request: PredictionRequest, now: datetime) -> PredictionRequest:
    """The request itself. Raises `DeadlinePassed` if nobody waits for its answer any more."""
    if request.deadline is not None and request.deadline <= now:
        raise DeadlinePassed
    return request


def check(request: PredictionRequest) -> PredictionRequest:
    """The request itself. Raises `InvalidRequest` naming every field that no store or model need be asked about."""
    faults: list[Violation] = []
    if not request.person_id and request.record is None:
        faults.append(Violation("person_id", "neither a person_id nor a record is given"))
    if request.person_id and not _PERSON_ID.fullmatch(request.person_id):
        faults.append(Violation("person_id", "not 1 to 64 letters, digits or _.:-"))
    if request.person_id and (request.record or {}).get("person_id", request.person_id) != request.person_id:
        faults.append(Violation("record.person_id", "differs from person_id"))
    if not _ALIAS.fullmatch(request.model_alias):
        faults.append(Violation("model_alias", "not 1 to 64 letters, digits or _.-"))
    if len(request.request_id) > _REQUEST_ID_LIMIT:
        faults.append(Violation("request_id", f"longer than {_REQUEST_ID_LIMIT} characters"))
    if request.max_feature_age is not None and request.max_feature_age < timedelta(0):
        faults.append(Violation("max_feature_age", "negative"))
    if faults:
        raise InvalidRequest(*faults)
    return request


def person_of(request: PredictionRequest) -> str:
    """The person whose stored features the request needs: the one it names, else the one its record names; "" for nobody."""
    named = request.person_id or (request.record or {}).get("person_id", "")
    return named if isinstance(named, str) and _PERSON_ID.fullmatch(named) else ""
