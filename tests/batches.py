"""Record batches as foreign producers may write them: header names of any bytes, any codec."""

import gzip
import struct
from collections.abc import Iterable
from typing import Any, Self

import pyarrow as pa
from aiokafka.record.util import calc_crc32c
from kafka.record.default_records import DefaultRecordBatchBuilder

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "snappy in blocks": 2, "lz4": 3, "zstd": 4}
Headers = list[tuple[bytes, bytes | None]]


class Raw(str):
    """A header's name of any bytes."""

    __slots__ = ("raw",)

    def __new__(cls, raw: bytes) -> Self:
        made = super().__new__(cls, "x" * len(raw))
        made.raw = raw
        return made

    def encode(self, *_: Any) -> bytes:
        return self.raw


def packed(records: Iterable[tuple[bytes, bytes, int, Headers]], first: int = 0) -> bytes:
    """A batch of records, each a key, a value, a timestamp (ms) and headers."""
    builder = DefaultRecordBatchBuilder(
        2, 0, is_transactional=0, producer_id=-1, producer_epoch=-1, base_sequence=-1, batch_size=1 << 24
    )
    for offset, (key, value, timestamp_ms, headers) in enumerate(records):
        builder.append(offset, timestamp_ms, key, value, [(Raw(name), each) for name, each in headers])
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, first)
    return sealed(made)


def sealed(data: bytes | bytearray) -> bytes:
    """`data` with the length and the checksum that it should have."""
    made = bytearray(data)
    struct.pack_into(">i", made, 8, len(made) - 12)
    struct.pack_into(">I", made, 17, calc_crc32c(bytes(made[21:])))
    return bytes(made)


def compressed(batch: bytes, codec: str) -> bytes:
    """A plain batch, compressed."""
    head, records = bytearray(batch[:61]), batch[61:]
    struct.pack_into(">h", head, 21, CODECS[codec])
    return sealed(bytes(head) + _compress(records, codec))


def _compress(records: bytes, codec: str) -> bytes:
    if codec == "none":
        return records
    if codec == "gzip":
        return gzip.compress(records)
    if codec == "snappy":
        return pa.compress(records, codec="snappy", asbytes=True)
    if codec == "snappy in blocks":
        blocks = [pa.compress(records[at : at + 100], codec="snappy", asbytes=True) for at in range(0, len(records), 100)]
        head = b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
        return head + b"".join(struct.pack(">i", len(each)) + each for each in blocks)
    if codec == "lz4":  # brokers take frames of independent blocks alone, which pyarrow reads but does not write
        block = pa.compress(records, codec="lz4_raw", asbytes=True)
        return bytes.fromhex("04224d18607073") + struct.pack("<I", len(block)) + block + struct.pack("<I", 0)
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(records)
    return sink.getvalue().to_pybytes()
