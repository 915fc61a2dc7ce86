"""Feast's documented Redis layout (docs/specs/online_store_format.md of Feast, entity keys of version 3), encoded and
decoded by hand.

One hash an entity. Field of a feature: murmur3 of "view:feature", little-endian; value: a protobuf `Value`; beside
them `_ts:<view>` with the row's event time. Three fields more are ours, which a stock Feast client never asks for:
`_state:<view>` (the fold), `_pos:<view>` (epoch and offset of the last record applied) and `_row:<view>` (the record
behind the row).

Place in the flow: `online` reads and writes with it; a Feast client reads what it wrote.
"""

import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import mmh3
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo.features import BY_NAME

VIEW = "person_features"
JOIN_KEY = "person_id"

TIMESTAMP_FIELD = f"_ts:{VIEW}".encode()
STATE_FIELD = f"_state:{VIEW}".encode()
POSITION_FIELD = f"_pos:{VIEW}".encode()
ROW_FIELD = f"_row:{VIEW}".encode()

_STRING_TYPE = 2  # feast.types.ValueType.STRING
_ENTITY_HEAD = b"".join([struct.pack("<III", 1, _STRING_TYPE, len(JOIN_KEY)), JOIN_KEY.encode(), struct.pack("<I", _STRING_TYPE)])
# Protobuf tags of feast.types.Value: field number * 8 + wire type.
_TAG_STRING, _TAG_INT64, _TAG_DOUBLE, _TAG_BOOL = 0x12, 0x20, 0x29, 0x38
_CONTINUES = 0x80
_UINT64 = 1 << 64
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
    return key[length_end:person_end].decode() if key[person_end:] == project.encode() else None


def field_of(feature: str) -> bytes:
    """The hash field of a feature of the view."""
    return struct.pack("<I", mmh3.hash(f"{VIEW}:{feature}", signed=False))


FIELDS = {name: field_of(name) for name in BY_NAME}


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
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp.SerializeToString()


def decode_timestamp(data: bytes) -> datetime:
    """The time in a protobuf `Timestamp`."""
    return Timestamp.FromString(data).ToDatetime(tzinfo=UTC)


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
        rank = f"{self.epoch:08x}{self.event_us + _SIGN_BIAS:016x}{self.offset:016x}"
        return f"{rank}:{self.partition}:{self.topic}".encode()

    @classmethod
    def decode(cls, data: bytes) -> "RowOrigin":
        """The origin in `data`."""
        rank, partition, topic = data.decode().split(":", 2)
        return cls(int(rank[:8], 16), int(rank[8:24], 16) - _SIGN_BIAS, int(rank[24:], 16), int(partition), topic)


RANK_LENGTH = 40


def encode_position(epoch: int, offset: int) -> bytes:
    """The last record applied, as text that compares as (epoch, offset) does."""
    return f"{epoch:08x}{offset:016x}".encode()


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
