"""Bytes of a message to named fields, and rows back to bytes. JSON by default, protobuf by the header `content-type`.

Place in the flow: the first step of the stream. Strict on purpose: what two parsers could read differently is rejected.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson
from google.protobuf.message import DecodeError

from protos.habitus.v1.person_pb2 import PersonRecord as PersonRecordProto
from runtime.errors import RecordRejected, Violation
from runtime.topics import RECORD_LIMIT_BYTES

PROTOBUF = "application/x-protobuf"
UNDECODABLE = "undecodable"
_DEEPEST = 32  # a record is flat; what people add around it is not deeper than this
_STRING, _BRACKET = re.compile(rb'"(?:[^"\\]|\\.)*+"?', re.DOTALL), re.compile(rb"[\[\]{}]")


def decode_value(value: bytes | None, content_type: str | None = None) -> Mapping[str, object]:
    """The fields of a message's value.

    Raises `RecordRejected` for an empty or null value, one over 64 KiB, non-UTF-8, malformed or non-object JSON, duplicate keys,
    NaN or infinity, and malformed protobuf.
    """
    if not value:
        raise _undecodable("the value is empty" if value is not None else "the value is null")
    if len(value) > RECORD_LIMIT_BYTES:
        raise _undecodable(f"the value has {len(value)} bytes, the limit is {RECORD_LIMIT_BYTES}")
    if content_type is not None and content_type.split(";")[0].strip().lower() == PROTOBUF:
        return record_fields(_parse_protobuf(value))
    return _parse_json(value)


def record_fields(message: PersonRecordProto) -> dict[str, object]:
    """The fields that are set in a protobuf record; absent ones are left out."""
    fields: dict[str, object] = {field.name: value for field, value in message.ListFields() if field.name != "event_timestamp"}
    if message.HasField("event_timestamp"):
        stamp = message.event_timestamp
        try:
            fields["event_timestamp"] = stamp.ToJsonString()
        except ValueError as error:
            raise _undecodable(f"event_timestamp is outside the calendar ({error})") from error
    return fields


def encode_row(row: Mapping[str, Any]) -> bytes:
    """A row as JSON: times as RFC 3339 in UTC, NaN as null."""
    return orjson.dumps(row, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)


def _parse_protobuf(value: bytes) -> PersonRecordProto:
    message = PersonRecordProto()
    try:
        message.ParseFromString(value)
    except DecodeError as error:
        raise _undecodable("the value is no protobuf PersonRecord") from error
    return message


def _parse_json(value: bytes) -> Mapping[str, object]:
    if _depth(value) > _DEEPEST:
        raise _undecodable(f"the JSON is nested too deeply, {_DEEPEST} levels are taken")
    try:
        parsed = json.loads(value.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_NoNumber)
        if b"\\u" in value:
            _require_text(parsed)
    except UnicodeDecodeError as error:
        raise _undecodable("the value is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise _undecodable("the JSON holds half a surrogate pair, which is no text") from error
    except ValueError as error:
        raise _undecodable(f"the value is no JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise _undecodable("the JSON is no object")
    if b"N" in value or b"I" in value:  # of NaN and Infinity
        _require_numbers(parsed)
    return parsed


def _depth(value: bytes) -> int:
    """How deeply JSON is nested. It is asked first: how deep Python's own reader goes depends on who calls it."""
    if value.count(b"{") + value.count(b"[") <= _DEEPEST:
        return 0
    depth = deepest = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", value)):
        depth += 1 if bracket in b"{[" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RecordRejected(UNDECODABLE, tuple(Violation(name, "given twice") for name in twice))
    return fields


def _require_text(parsed: object) -> None:
    """Raises `UnicodeEncodeError` for an escape that stands for no character: Parquet, Kafka headers and Redis take none."""
    json.dumps(parsed, ensure_ascii=False).encode()


class _NoNumber(str):
    """What Python's reader takes for a number and JSON does not know: NaN, Infinity, -Infinity."""

    __slots__ = ()


def _require_numbers(fields: Mapping[str, object]) -> None:
    found = ((name, _no_number_in(value)) for name, value in fields.items())
    violations = tuple(Violation(name, f"{constant} is no JSON number") for name, constant in found if constant is not None)
    if violations:
        raise RecordRejected(UNDECODABLE, violations)


def _no_number_in(value: object) -> str | None:
    if isinstance(value, _NoNumber):
        return value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for each in inner if (found := _no_number_in(each)) is not None), None)


def _undecodable(description: str) -> RecordRejected:
    return RecordRejected(UNDECODABLE, (Violation("value", description),))
