"""Reading the record batches that a Kafka client stops at: header names that are not UTF-8, and every codec.

Place in the flow: between the bytes that a broker answered and the parsers of aiokafka and kafka-python, which `tolerate` gives
a `Batches` instead of their own `MemoryRecords`. Kafka demands neither that a header's name is UTF-8 nor that a consumer has
the library of a producer's codec; but both clients raise there, in the middle of a batch, before our code sees a message, and
so at every start again. Here such a batch is written anew, plain and with names that can be read, and the client's own
parser reads that. A batch that the client reads by itself stays untouched. What is still unreadable is corrupt, and raises.
"""

import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

_LENGTH = struct.Struct(">i")
_LENGTH_AT = 8  # after the base offset
_AFTER_LENGTH = 12
_MAGIC_AT = 16
_ATTRIBUTES = struct.Struct(">h")
_ATTRIBUTES_AT = 21
_COUNT_AT = 57
_RECORDS_AT = 61
_SMALLEST_BATCH = _MAGIC_AT + 1
_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
_CODEC_MASK = 0b111
_XERIAL = b"\x82SNAPPY\x00"  # how Java's producers frame Snappy: blocks, each after its length
_XERIAL_HEADER_BYTES = 16
_NONE = -1  # the length of a null


def tolerate(fetcher: Any) -> None:
    """Let `fetcher`, the module of a client that asks brokers for records, read every batch."""
    strict = fetcher.MemoryRecords
    if not (isinstance(strict, type) and issubclass(strict, Batches)):
        fetcher.MemoryRecords = type("TolerantRecords", (Batches,), {"strict": strict})


class Batches:
    """The batches in one answer of a broker, as `MemoryRecords` of either client gives them out."""

    strict: Any  # the client's own class

    def __init__(self, data: Any) -> None:
        self._data = memoryview(data)
        self._at = 0

    def size_in_bytes(self) -> int:
        """The bytes of the answer, a batch that is cut off at its end included."""
        return len(self._data)

    def has_next(self) -> bool:
        """Whether another whole batch follows."""
        return self._end() is not None

    def next_batch(self) -> "Batch | None":
        """The next whole batch, None after the last one."""
        end = self._end()
        if end is None:
            return None
        one = bytes(self._data[self._at : end])
        self._at = end
        return Batch(self.strict, one)

    def _end(self) -> int | None:
        if len(self._data) - self._at < _AFTER_LENGTH:
            return None
        end = int(self._at + _AFTER_LENGTH + _LENGTH.unpack_from(self._data, self._at + _LENGTH_AT)[0])
        return end if end <= len(self._data) else None


class Batch:
    """One batch: the client's own, and where that cannot read its records, the client's own of the mended bytes."""

    def __init__(self, strict: Any, data: bytes) -> None:
        self._strict = strict
        self._data = data
        self._own = strict(data).next_batch()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __next__(self) -> Any:
        """The next record; clients ask control batches so, whose records have no headers."""
        return next(self._own)

    def __iter__(self) -> Iterator[Any]:
        """The records. Raises what the client raises where the batch is corrupt."""
        if len(self._data) <= _SMALLEST_BATCH or self._data[_MAGIC_AT] != 2:  # noqa: PLR2004  older formats have no headers
            return iter(self._own)
        try:
            return iter(list(self._own))
        except Exception as error:  # noqa: BLE001  each client and codec raises its own kinds
            return iter(self._mended(error))

    def _mended(self, error: Exception) -> list[Any]:
        try:
            mended = mend(self._data)
        except (ValueError, IndexError, OSError):
            raise error from None  # it was no header's name and no codec: the client says best what
        return list(self._strict(mended).next_batch())


def mend(batch: bytes) -> bytes:
    """`batch` (format 2) without compression, each header name that is no UTF-8 spelled with backslashes.

    Its checksum is not made anew. Raises `ValueError`, `IndexError` or `OSError` where the batch is corrupt.
    """
    (attributes,) = _ATTRIBUTES.unpack_from(batch, _ATTRIBUTES_AT)
    (count,) = _LENGTH.unpack_from(batch, _COUNT_AT)
    plain = _decompress(batch[_RECORDS_AT:], attributes & _CODEC_MASK)
    head = bytearray(batch[:_RECORDS_AT])
    _ATTRIBUTES.pack_into(head, _ATTRIBUTES_AT, attributes & ~_CODEC_MASK)
    records = b"".join(_mended_records(plain, count))
    _LENGTH.pack_into(head, _LENGTH_AT, len(head) - _AFTER_LENGTH + len(records))
    return bytes(head) + records


def _mended_records(data: bytes, count: int) -> Iterator[bytes]:
    at = 0
    for _ in range(count):
        length, at = _varint(data, at)
        if length < 0 or at + length > len(data):
            raise ValueError("a record reaches beyond its batch")
        record = _mended_record(data[at : at + length])
        yield _as_varint(len(record)) + record
        at += length
    if at != len(data):
        raise ValueError("bytes are left after the last record")


def _mended_record(record: bytes) -> bytes:
    at = 1  # attributes
    for _ in ("timestamp", "offset"):
        _, at = _varint(record, at)
    for _ in ("key", "value"):
        _, at = _bytes(record, at)
    count, after_count = _varint(record, at)
    parts = [record[:after_count]]
    at = after_count
    for _ in range(count):
        name, at = _bytes(record, at)
        readable = (name or b"").decode(errors="backslashreplace").encode()
        start = at
        _, at = _bytes(record, at)
        parts += [_as_varint(len(readable)), readable, record[start:at]]
    if at != len(record):
        raise ValueError("bytes are left after the last header")
    return b"".join(parts)


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    """The length-prefixed bytes at `at`, None for a null, and where they end."""
    length, at = _varint(data, at)
    if length == _NONE:
        return None, at
    if length < 0 or at + length > len(data):
        raise ValueError("a length reaches beyond its record")
    return data[at : at + length], at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The zigzag number at `at`, and where it ends."""
    raw = shift = 0
    while True:
        byte = data[at]
        raw |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:  # noqa: PLR2004  the top bit says that more follows
            return (raw >> 1) ^ -(raw & 1), at
        shift += 7


def _as_varint(length: int) -> bytes:
    raw, written = length << 1, bytearray()
    while raw >= 0x80:  # noqa: PLR2004  as in _varint
        written.append(raw & 0x7F | 0x80)
        raw >>= 7
    written.append(raw)
    return bytes(written)


def _decompress(data: bytes, codec: int) -> bytes:
    if codec == 0:
        return data
    if codec not in _CODECS:
        raise ValueError(f"codec {codec} is none of Kafka's")
    if _CODECS[codec] == "snappy":
        return b"".join(map(_unsnap, _snappy_blocks(data)))
    import pyarrow as pa  # noqa: PLC0415  brings every codec, and takes half a second to import

    with pa.CompressedInputStream(pa.BufferReader(data), _CODECS[codec]) as stream:
        plain = BytesIO()
        while chunk := stream.read(1 << 20):
            plain.write(chunk)
        return plain.getvalue()


def _snappy_blocks(data: bytes) -> Iterator[bytes]:
    if not data.startswith(_XERIAL):
        yield data
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        yield data[at : at + length]
        at += length


def _unsnap(block: bytes) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  as above

    length = shift = at = 0
    while True:  # a block begins with the length of what it holds, a plain varint
        byte = block[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004  as in _varint
            break
    return bytes(pa.decompress(block, decompressed_size=length, codec="snappy", asbytes=True))
