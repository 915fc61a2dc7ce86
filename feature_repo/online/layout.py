"""Feast's documented Redis layout (docs/specs/online_store_format.md of Feast, entity keys of version 3), encoded and
decoded by hand.

One hash an entity. Field of a feature: murmur3 of "view:feature", little-endian; value: a protobuf `Value`; beside
them `_ts:<view>` with the row's event time. Four fields more are ours, which a stock Feast client never asks for:
`_state:<view>` (the fold), `_pos:<view>` (epoch and offset of the last record applied), `_row:<view>` (the record
behind the row) and `_fields:<view>` (which features the row has, so that whatever replaces it leaves none behind).

Place in the flow: `online` and `guarded_store` read and write with it; a Feast client reads what they wrote.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import mmh3
import numpy as np
import pyarrow as pa

from feature_repo.features import BY_NAME, FEATURE_NAMES
from feature_repo.temporal import to_us

VIEW = "person_features"
JOIN_KEY = "person_id"

# What precedes a view's name in the fields that are no features.
TIMESTAMP, STATE, POSITION, ROW, NAMES = "_ts:", "_state:", "_pos:", "_row:", "_fields:"
TIMESTAMP_FIELD = f"{TIMESTAMP}{VIEW}".encode()
STATE_FIELD = f"{STATE}{VIEW}".encode()
POSITION_FIELD = f"{POSITION}{VIEW}".encode()
ROW_FIELD = f"{ROW}{VIEW}".encode()
NAMES_FIELD = f"{NAMES}{VIEW}".encode()

_STRING_TYPE = 2  # feast.types.ValueType.STRING
_ENTITY_HEAD = b"".join([struct.pack("<III", 1, _STRING_TYPE, len(JOIN_KEY)), JOIN_KEY.encode(), struct.pack("<I", _STRING_TYPE)])
# Protobuf tags of feast.types.Value: field number * 8 + wire type.
_TAG_STRING, _TAG_INT64, _TAG_DOUBLE, _TAG_BOOL = 0x12, 0x20, 0x29, 0x38
# The same of google.protobuf.Timestamp.
_TAG_SECONDS, _TAG_NANOS = 0x08, 0x10
_CONTINUES = 0x80
_UINT64 = 1 << 64
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DOUBLE = struct.Struct("<d").unpack_from
_SIGN_BIAS = 1 << 63  # makes times before 1970 sort below later ones as hexadecimal text


def entity_key(person_id: str, project: str) -> bytes:
    """The Redis key of a person's hash."""
    encoded = person_id.encode()
    return b"".join([_ENTITY_HEAD, struct.pack("<I", len(encoded)), encoded, project.encode()])


def decode_entity_key(key: bytes, project: str) -> str | None:
    """The person whose hash `key` is in `project`; None for any other key."""
    head, length_end = len(_ENTITY_HEAD), len(_ENTITY_HEAD) + 4
    if not key.startswith(_ENTITY_HEAD) or len(key) < length_end:
        return None
    person_end = length_end + int.from_bytes(key[head:length_end], "little")
    if key[person_end:] != project.encode():
        return None
    try:
        return key[length_end:person_end].decode()
    except UnicodeDecodeError:  # no client of Feast wrote that
        return None


def is_entity_key(data: bytes) -> bool:
    """Whether `data` is one entity key as Feast serialises it, of any join keys and types, with nothing after it."""
    end = 4
    try:
        (join_keys,) = struct.unpack_from("<I", data)
        for _ in range(2 * join_keys):  # the names, then the values: each its type, its length, itself
            _, length = struct.unpack_from("<II", data, end)
            end += 8 + length
    except struct.error:
        return False
    return end == len(data)


def entity_key_pattern(project: str) -> bytes:
    """A pattern for SCAN that every person's key in `project` fits, and few others; `decode_entity_key` tells them apart."""
    return literally(_ENTITY_HEAD) + b"*" + literally(project.encode())


def literally(data: bytes) -> bytes:
    """A pattern for SCAN that `data` alone fits."""
    return b"".join(b"\\" + bytes([each]) for each in data)


def watermark_key(project: str, topic: str, partition: int) -> str:
    """The key that tells up to which offset the rows of a partition are stored."""
    return f"{watermark_prefix(project)}{topic}:{partition}"


def watermark_prefix(project: str) -> str:
    """How the watermarks of a project begin, and nothing else does."""
    return f"{project}:watermark:"


@lru_cache(maxsize=65_536)
def field_of(feature: str, view: str = VIEW) -> bytes:
    """The hash field of a feature of a view."""
    return struct.pack("<I", mmh3.hash(f"{view}:{feature}", signed=False))


FIELDS = {name: field_of(name) for name in BY_NAME}
ROW_NAMES = b"".join(FIELDS[name] for name in FEATURE_NAMES)
"""The fields of a row of the view, four bytes each, in the order of `FEATURE_NAMES`."""


def encode_value(name: str, value: Any) -> bytes:
    """A feature's value as protobuf `Value`; None is the empty message, which Feast reads as null."""
    if value is None:
        return b""
    match BY_NAME[name].dtype:
        case "float":
            return struct.pack("<Bd", _TAG_DOUBLE, value)
        case "int":
            return bytes([_TAG_INT64]) + _varint(value % _UINT64)
        case "bool":
            return bytes([_TAG_BOOL, bool(value)])
        case "category":
            text = str(value).encode()
            return bytes([_TAG_STRING]) + _varint(len(text)) + text


def framed(value: bytes) -> bytes:
    """A value behind its length, as the guard's scripts take a row's values."""
    return struct.pack("<I", len(value)) + value


def encode_rows(rows: pa.Table) -> list[bytes]:
    """Of each row its framed values, in the order of `FEATURE_NAMES`; encoded a column at a time."""
    return [b"".join(values) for values in zip(*(_framed_column(name, rows[name]) for name in FEATURE_NAMES), strict=True)]


_NULL = framed(b"")
_FRAMED_DOUBLE = np.dtype([("length", "<u4"), ("tag", "u1"), ("value", "<f8")])


def _framed_column(name: str, column: pa.ChunkedArray) -> Iterable[bytes]:
    if BY_NAME[name].dtype == "float":
        return _framed_doubles(column)
    values = column.to_pylist()
    known = {value: framed(encode_value(name, value)) for value in set(values)}
    return map(known.__getitem__, values)


def _framed_doubles(column: pa.ChunkedArray) -> list[bytes]:
    packed = np.empty(len(column), _FRAMED_DOUBLE)
    packed["length"], packed["tag"], packed["value"] = 9, _TAG_DOUBLE, column.to_numpy()
    data, width = packed.tobytes(), _FRAMED_DOUBLE.itemsize
    framed_values = [data[start : start + width] for start in range(0, len(data), width)]
    if column.null_count:
        for row in np.flatnonzero(column.is_null().to_numpy()):
            framed_values[row] = _NULL
    return framed_values


def decode_values(stored: Iterable[bytes | None]) -> list[Any]:
    """`decode_value` of each, in a third of its time: floats at once, and the rest, which are few different ones, remembered."""
    return [_DOUBLE(data, 1)[0] if data and data[0] == _TAG_DOUBLE else _remembered(data) for data in stored]


@lru_cache(maxsize=65_536)
def _remembered(data: bytes | None) -> Any:
    return decode_value(data)


def decode_value(data: bytes | None) -> Any:
    """The value in a protobuf `Value` of one of our four types; None for an absent field or a null. Raises `ValueError` else."""
    if not data:
        return None
    match data[0]:
        case 0x29:
            return struct.unpack_from("<d", data, 1)[0]
        case 0x38:
            return bool(data[1])
        case 0x20:
            number, _ = _read_varint(data, 1)
            return number - _UINT64 if number >= _SIGN_BIAS else number
        case 0x12:
            length, start = _read_varint(data, 1)
            return data[start : start + length].decode()
    raise ValueError(f"a Value with tag {data[0]:#x} is none of ours")


def encode_timestamp(moment: datetime) -> bytes:
    """A time as protobuf `Timestamp`."""
    return encode_timestamp_us(to_us(moment))


def encode_timestamp_us(event_us: int) -> bytes:
    """Microseconds since 1970 as protobuf `Timestamp`."""
    seconds, micros = divmod(event_us, 1_000_000)
    encoded = bytes([_TAG_SECONDS]) + _varint(seconds % _UINT64) if seconds else b""
    return encoded + bytes([_TAG_NANOS]) + _varint(micros * 1000) if micros else encoded


def decode_timestamp(data: bytes) -> datetime:
    """The time in a protobuf `Timestamp`, to the microsecond."""
    return _EPOCH + timedelta(microseconds=decode_timestamp_us(data))


def decode_timestamp_us(data: bytes) -> int:
    """Microseconds since 1970 in a protobuf `Timestamp`."""
    seconds = micros = at = 0
    while at < len(data):
        number, end = _read_varint(data, at + 1)
        if data[at] == _TAG_SECONDS:
            seconds = number - _UINT64 if number >= _SIGN_BIAS else number
        else:
            micros = number // 1000
        at = end
    return seconds * 1_000_000 + micros


@dataclass(frozen=True)
class RowOrigin:
    """The record behind an online row; greater (epoch, event time, offset) wins."""

    epoch: int
    event_us: int
    offset: int
    partition: int
    topic: str

    def encode(self) -> bytes:
        """Text whose first RANK_LENGTH characters compare as (epoch, event time, offset) do."""
        return f"{_moment(self.epoch, self.event_us)}{self.offset:016x}:{self.partition}:{self.topic}".encode()

    @classmethod
    def decode(cls, data: bytes | None, event_us: int) -> "RowOrigin | None":
        """The origin in `data` of a row of this event time; None if Feast wrote the row, which knows no records."""
        if data is None or data[8:24] != b"%016x" % (event_us + _SIGN_BIAS):
            return None
        rank, partition, topic = data.decode().split(":", 2)
        if rank.endswith(NO_OFFSET):
            return None
        return cls(int(rank[:8], 16), event_us, int(rank[24:], 16), int(partition), topic)


RANK_LENGTH = 40
NO_OFFSET = "-" * 16
"""Instead of an offset in the rank of a row that Feast wrote: at equal event times it sorts below any record's."""


def feast_rank(epoch: int, event_us: int) -> str:
    """The rank of a row that is not of a record but of Feast's materialisation, push or write."""
    return _moment(epoch, event_us) + NO_OFFSET


def _moment(epoch: int, event_us: int) -> str:
    return f"{epoch:08x}{event_us + _SIGN_BIAS:016x}"


@dataclass(frozen=True)
class Position:
    """The last record applied to a state."""

    epoch: int
    offset: int

    def encode(self) -> bytes:
        """Text that compares as (epoch, offset) does."""
        return encode_epoch(self.epoch) + f"{self.offset:016x}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "Position":
        """The position in `data`."""
        return cls(int(data[:8], 16), int(data[8:], 16))


def encode_epoch(epoch: int) -> bytes:
    """Text that compares as the epoch does; a position and a rank begin with it."""
    return f"{epoch:08x}".encode()


def _varint(number: int) -> bytes:
    out = bytearray()
    while number >= _CONTINUES:
        out.append(number & 0x7F | _CONTINUES)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, start: int) -> tuple[int, int]:
    number = shift = 0
    for position in range(start, len(data)):
        number |= (data[position] & 0x7F) << shift
        if data[position] < _CONTINUES:
            return number, position + 1
        shift += 7
    raise ValueError("a varint is torn")
