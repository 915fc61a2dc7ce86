"""Dead letters: a rejected message's own bytes, with headers that tell where it stood and why it was rejected.

Place in the flow: the handlers make them, `adapters.kafka` publishes them, `adapters.dead_letters` reads them back for
`habitus dlq`, which shows them and sends them again.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVar

from runtime.errors import RecordRejected
from streams.messages import Headers, Message, Shard

# The dead-letter topic takes its source's largest message and 64 KiB; all our headers together stay well below that.
REASON_LIMIT_BYTES = 8 * 1024
FIELDS_LIMIT_BYTES = 4 * 1024
_CUT = " ..."
# A letter's time is told by a worker's clock, its replay's by who replays it; so far apart they may be.
CLOCKS_AGREE_WITHIN = timedelta(minutes=10)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_MS = 253_402_300_799_000  # of year 9999; a timestamp may be any number
T = TypeVar("T")


@dataclass(frozen=True)
class Rejected:
    """A message and why it was rejected."""

    message: Message
    error: RecordRejected


@dataclass(frozen=True)
class DeadLetter:
    """A message of a dead-letter topic: key, value and headers of the source, and ours after them."""

    key: bytes | None
    value: bytes | None
    headers: Headers

    def cut_to(self, limit_bytes: int) -> "DeadLetter":
        """The letter with its value cut so that it fits in `limit_bytes`, and a header `value_bytes` with the true length.

        Needed for what was compressed at its source: a broker limits the compressed size, a producer the plain one.
        Foreign headers go first where even they do not fit; the source keeps the whole message.
        """
        if self.size_bytes <= limit_bytes:
            return self
        told = ("value_bytes", str(len(self.value or b"")).encode())
        ours = self.headers[-len(OUR_HEADERS) :]
        key = self.key if len(self.key or b"") <= REASON_LIMIT_BYTES else (self.key or b"")[:REASON_LIMIT_BYTES]
        bare = DeadLetter(key, b"", (*ours, told))
        room = max(limit_bytes - bare.size_bytes, 0)
        return DeadLetter(key, (self.value or b"")[:room], bare.headers)

    @property
    def size_bytes(self) -> int:
        """Bytes of key, value and headers, with what Kafka needs around each."""
        around = 16  # lengths and deltas of a record and of a header are varints, five bytes each at most
        headers = sum(len(name.encode()) + len(value) + around for name, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers + 2 * around


OUR_HEADERS = (
    "source_topic",
    "source_partition",
    "source_offset",
    "error_class",
    "reason",
    "failed_fields",
    "app_version",
    "failed_at",
    "source_timestamp_ms",
)
# What a message that is sent again carries: where its record stood first and when it was stamped there, the letter it was sent
# from, and how often it has been sent. If it is rejected too, its letter keeps them among the source's headers.
ORIGIN_HEADERS = ("origin_topic", "origin_partition", "origin_offset", "origin_timestamp_ms", "origin_letter", "attempt")


class Origin(NamedTuple):
    """Where a record stood when it was sent first, and how often it has been sent since: what each sending is known by."""

    topic: str
    partition: int
    offset: int
    attempt: int

    @classmethod
    def told_by(cls, headers: Iterable[tuple[str, bytes | None]]) -> "Origin | None":
        """The origin in the headers of a message that was sent again; None of any other, or where it makes no sense."""
        told = _told(headers)
        try:
            return cls(told["origin_topic"], *(int(told[name]) for name in ("origin_partition", "origin_offset", "attempt")))
        except (KeyError, ValueError):
            return None

    @property
    def next(self) -> "Origin":
        """The same record, sent once more."""
        return self._replace(attempt=self.attempt + 1)


def dead_letter(rejected: Rejected, app_version: str, failed_at: datetime) -> DeadLetter:
    """The dead letter of a rejected message."""
    message, error = rejected.message, rejected.error
    ours = (
        message.shard.topic,
        str(message.shard.partition),
        str(message.offset),
        error.error_class,
        _cut(error.reason, REASON_LIMIT_BYTES),
        _cut(",".join(error.failed_fields), FIELDS_LIMIT_BYTES),
        app_version,
        failed_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        str(message.timestamp_ms),
    )
    headers = tuple(zip(OUR_HEADERS, (_bytes(text) for text in ours), strict=True))
    # A producer takes no message with neither key nor value; the reason still says that the value was null.
    value = b"" if message.key is None and message.value is None else message.value
    return DeadLetter(message.key, value, (*message.headers, *headers))


@dataclass(frozen=True)
class DeadLetterRead:
    """A dead letter as `habitus dlq` shows it; `offset` is its place in the dead-letter topic.

    `headers` are the source's own. `source_timestamp_ms` is None in letters of older versions; `value_bytes` is None unless the
    value had to be cut.
    """

    offset: int
    source: Shard
    source_offset: int
    error_class: str
    reason: str
    failed_fields: tuple[str, ...]
    app_version: str
    failed_at: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    source_timestamp_ms: int | None = None
    value_bytes: int | None = None

    @classmethod
    def of(
        cls, offset: int, key: bytes | None, value: bytes | None, headers: Iterable[tuple[str, bytes | None]]
    ) -> "DeadLetterRead":
        """The dead letter in a message; ours begin at the last `source_topic`, whatever the source's headers are called."""
        theirs, ours = _apart(headers)
        told = _told(ours)
        return cls(
            offset=offset,
            source=Shard(told.get("source_topic", ""), _number(told.get("source_partition"), -1)),
            source_offset=_number(told.get("source_offset"), -1),
            error_class=told.get("error_class", ""),
            reason=told.get("reason", ""),
            failed_fields=tuple(filter(None, told.get("failed_fields", "").split(","))),
            app_version=told.get("app_version", ""),
            failed_at=told.get("failed_at", ""),
            key=key,
            value=value,
            headers=theirs,
            source_timestamp_ms=_number(told.get("source_timestamp_ms"), None),
            value_bytes=_number(told.get("value_bytes"), None),
        )

    @property
    def origin(self) -> Origin:
        """Where the record stood first; a letter of a message that was never sent again is of the first attempt."""
        return Origin.told_by(self.headers) or Origin(self.source.topic, self.source.partition, self.source_offset, 1)

    @property
    def origin_timestamp_ms(self) -> int | None:
        """When the record was stamped first; None where that is not known."""
        known = _number(_told(self.headers).get("origin_timestamp_ms"), None)
        return known if Origin.told_by(self.headers) and known is not None else self.source_timestamp_ms

    @property
    def earliest_replay(self) -> datetime:
        """Nothing of this record was sent again before.

        Not `failed` alone tells: a history that is made good buries a record once more, long after its first letter was replayed.
        """
        since = _EPOCH if self.failed is None else self.failed - CLOCKS_AGREE_WITHIN
        stamped_ms = self.source_timestamp_ms
        if stamped_ms is None or stamped_ms < 0:
            return since if stamped_ms is None else _EPOCH
        return min(since, _EPOCH + timedelta(milliseconds=min(stamped_ms, _LATEST_MS)))

    @property
    def failed(self) -> datetime | None:
        """`failed_at` as a time; None of a foreign message."""
        try:
            return datetime.fromisoformat(self.failed_at).astimezone(UTC)
        except ValueError:
            return None


def _apart(headers: Iterable[tuple[str, bytes | None]]) -> tuple[Headers, Headers]:
    """The source's headers and ours."""
    every = tuple((name, value or b"") for name, value in headers)
    starts = [index for index, (name, _) in enumerate(every) if name == OUR_HEADERS[0]]
    first = starts[-1] if starts else len(every)
    return every[:first], every[first:]


def _told(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Headers as text; of one that is given twice the last counts."""
    return {name: (value or b"").decode(errors="replace") for name, value in headers}


def _number(text: str | None, otherwise: T) -> int | T:
    try:
        return int(text or "")
    except ValueError:
        return otherwise


def _bytes(text: str) -> bytes:
    # A field's name may hold half a surrogate pair, which JSON allows and UTF-8 does not.
    return text.encode(errors="backslashreplace")


def _cut(text: str, limit_bytes: int) -> str:
    encoded = _bytes(text)
    if len(encoded) <= limit_bytes:
        return text
    return encoded[: limit_bytes - len(_CUT)].decode(errors="ignore") + _CUT
