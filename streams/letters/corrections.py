"""How the value of a dead letter is corrected: fields set, dropped or renamed, or the whole value given anew.

Place in the flow: `replay` corrects with these before it validates and sends. Pure; what cannot be corrected is a rejection.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from google.protobuf.json_format import ParseDict, ParseError

from feature_repo.person import ALIASES, INVALID_RECORD, LEVEL_FIELDS
from feature_repo.wire import PROTOBUF, decode_value
from protos.habitus.v1.person_pb2 import PersonRecord as PersonRecordProto
from runtime.errors import RecordRejected, Violation
from streams.letters.dead_letters import DeadLetterRead
from streams.messages import EARLIEST_TIME, LATEST_TIME, Headers
from streams.validation import CONTENT_TYPE

BASE64 = "base64:"  # how `habitus dlq show --json` marks a value that is no text
EVENT_TIME = "event_timestamp"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Edit:
    """What is changed in every value, in this order: `renamed` (old name, new name), `dropped`, `assigned` (name, JSON value).

    A field that is not there is neither renamed nor dropped. An assigned field takes the place of the same field under its
    other name.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    assigned: tuple[tuple[str, object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.renamed or self.dropped or self.assigned)

    def of(self, fields: Mapping[str, object]) -> dict[str, object]:
        """The fields as they are after the edit."""
        edited = dict(fields)
        for old, new in self.renamed:
            if old in edited:
                edited = _assigned(edited, new, edited.pop(old))
        for name in self.dropped:
            edited.pop(name, None)
        for name, value in self.assigned:
            edited = _assigned(edited, name, value)
        return edited


def parse_assigned(text: str) -> tuple[str, object]:
    """Name and value of a text such as `weight_kg=61` or `gender=Male`: what is no JSON is a string. Raises `ValueError`."""
    name, separator, value = text.partition("=")
    if not name or not separator:
        raise ValueError(f"{text!r} names no field and value; write weight_kg=61.5")
    try:
        return name, json.loads(value, parse_constant=str)
    except ValueError:
        return name, value


def parse_renamed(text: str) -> tuple[str, str]:
    """Old and new name of a text such as `mass=weight_kg`. Raises `ValueError`."""
    old, _, new = text.partition("=")
    if not old or not new:
        raise ValueError(f"{text!r} names no two fields; write mass=weight_kg")
    return old, new


def corrected(value: bytes | None, headers: Headers, edit: Edit) -> bytes | None:
    """The value after `edit`, of the content type that it had. Raises `RecordRejected` if it cannot be decoded or encoded."""
    if not edit:
        return value
    content_type = _content_type(headers)
    fields = edit.of(decode_value(value, content_type))
    return _as_protobuf(fields) if _is_protobuf(content_type) else _as_json(fields)


def with_event_time(value: bytes | None, headers: Headers, first_sent_ms: int | None, latest_ms: int) -> bytes | None:
    """The value with its event time in it: `first_sent_ms`, if it has none of its own, but not later than `latest_ms`.

    A value that has one is not touched. Raises `RecordRejected` if it cannot be decoded, or if nothing tells its time.
    """
    content_type = _content_type(headers)
    fields = decode_value(value, content_type)
    if fields.get(EVENT_TIME) is not None:
        return value
    if first_sent_ms is None or not 0 <= first_sent_ms < (LATEST_TIME - EARLIEST_TIME) // timedelta(milliseconds=1):
        reason = "absent, and the letter does not tell when its message was sent"
        raise RecordRejected(INVALID_RECORD, (Violation(EVENT_TIME, reason),), remedy=f"--set {EVENT_TIME}=2024-05-01T12:00:00Z")
    told = (_EPOCH + timedelta(milliseconds=min(first_sent_ms, latest_ms))).isoformat(timespec="milliseconds")
    if not _is_protobuf(content_type):
        return _as_json({**fields, EVENT_TIME: told})
    message = PersonRecordProto.FromString(value or b"")  # not from the fields: it may hold some that this version does not know
    message.event_timestamp.FromJsonString(told)
    return message.SerializeToString()


@dataclass(frozen=True)
class Given:
    """A whole value that takes the place of a letter's; `is_text` tells JSON from bytes of whatever type the letter has."""

    value: bytes
    is_text: bool

    def headers(self, letter: DeadLetterRead) -> Headers:
        """The letter's headers; without its content type where JSON has taken the place of something else."""
        if not self.is_text or self.value == letter.value:
            return letter.headers
        return tuple(each for each in letter.headers if each[0] != CONTENT_TYPE)


def parse_given(lines: Iterable[str], topic: str) -> dict[int, Given]:
    """Values by letter number, from lines as `habitus dlq show --json` prints them; `value` may be an object, too.

    Raises `ValueError` naming the line.
    """
    given: dict[int, Given] = {}
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                letter, value = _given(json.loads(line), topic)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            if letter in given:
                raise ValueError(f"line {number}: letter {letter} is given twice")
            given[letter] = value
    return given


def protobuf_fields(letter: DeadLetterRead) -> Mapping[str, object] | None:
    """The fields in a protobuf letter's value, which nobody can read by eye; None of any other, and of what cannot be decoded."""
    content_type = _content_type(letter.headers)
    try:
        return decode_value(letter.value, content_type) if _is_protobuf(content_type) else None
    except RecordRejected:
        return None


def person_of(value: bytes | None, headers: Headers) -> str | None:
    """The person whom a value names, None if it names none or cannot be decoded."""
    try:
        person_id = decode_value(value, _content_type(headers)).get("person_id")
    except RecordRejected:
        return None
    return person_id if isinstance(person_id, str) else None


def _assigned(fields: Mapping[str, object], name: str, value: object) -> dict[str, object]:
    kept = {each: held for each, held in fields.items() if each == name or _canonical(each) != _canonical(name)}
    return kept | {name: value}


def _canonical(name: str) -> str:
    return LEVEL_FIELDS[0] if name in LEVEL_FIELDS else ALIASES.get(name, name)


def _given(told: object, topic: str) -> tuple[int, Given]:
    if not isinstance(told, dict) or type(told.get("letter")) is not int or not isinstance(told.get("value"), str | dict):
        raise ValueError('is no letter; write {"letter": 7, "value": {...}}, or edit what `habitus dlq show 7 --json` prints')
    if told.get("source_topic", topic) != topic:
        raise ValueError(f"the letter is of {told['source_topic']}, not of {topic}")
    value = told["value"]
    if isinstance(value, dict):
        return told["letter"], Given(_as_json(value), is_text=True)
    if value.startswith(BASE64):
        return told["letter"], Given(base64.b64decode(value.removeprefix(BASE64), validate=True), is_text=False)
    return told["letter"], Given(value.encode(errors="backslashreplace"), is_text=True)


def _as_json(fields: Mapping[str, object]) -> bytes:
    # Half a surrogate pair, which no encoding takes, becomes the escape that validation rejects by name.
    return json.dumps(fields, ensure_ascii=False).encode(errors="backslashreplace")


def _as_protobuf(fields: Mapping[str, object]) -> bytes:
    ours = {ALIASES.get(name, name): value for name, value in fields.items()}
    try:
        message: PersonRecordProto = ParseDict(ours, PersonRecordProto())
    except ParseError as error:
        remedy = "give the whole value as JSON with --from; in protobuf yes and no are true and false"
        raise RecordRejected(INVALID_RECORD, _blamed(ours, str(error)), remedy=remedy) from error
    return message.SerializeToString()


def _blamed(fields: Iterable[str], complaint: str) -> tuple[Violation, ...]:
    """The complaint of protobuf's parser, laid at the door of the fields that it names."""
    named = [name for name in fields if name in complaint]
    return tuple(Violation(name, f"does not fit protobuf ({complaint})") for name in named or ["value"])


def _content_type(headers: Headers) -> str | None:
    found = [value for name, value in headers if name == CONTENT_TYPE]
    return found[-1].decode(errors="replace") if found else None


def _is_protobuf(content_type: str | None) -> bool:
    return (content_type or "").split(";")[0].strip().lower() == PROTOBUF
