"""A dead letter never fails for its size, and reads back as what it was."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RecordRejected, Violation
from runtime.topics import RECORD_LIMIT_BYTES
from streams.dead_letters import DeadLetter, DeadLetterRead, Rejected, dead_letter
from streams.messages import Message, Shard

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def letter(value: bytes | None, *violations: Violation, headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    message = Message(Shard("t", 3), 41, 0, b"ann", value, headers)
    return dead_letter(Rejected(message, RecordRejected("invalid_record", violations)), "1.0", NOW)


def test_a_dead_letter_reads_back_as_what_it_was() -> None:
    written = letter(b"\xff", Violation("a", "bad"), Violation("b", "worse"), headers=(("source_topic", b"older"),))
    read = DeadLetterRead.of(5, written.key, written.value, written.headers)
    assert (read.offset, read.source, read.source_offset) == (5, Shard("t", 3), 41)
    assert (read.error_class, read.failed_fields, read.value) == ("invalid_record", ("a", "b"), b"\xff")
    assert (read.reason, read.app_version, read.failed_at) == ("a: bad; b: worse", "1.0", "2024-05-01T00:00:00Z")


def test_a_foreign_message_in_a_dead_letter_topic_can_be_shown() -> None:
    assert DeadLetterRead.of(0, None, None, []).error_class == ""


def test_what_we_say_fits_in_the_headroom_whatever_was_violated() -> None:
    """Promise: thousands of long field names leave room: source's limit + 64 KiB always holds the dead letter."""
    violations = [Violation(f"{number}" * 50, "é" * 200) for number in range(2000)]
    assert letter(b"", *violations).size_bytes < RECORD_LIMIT_BYTES / 2


def test_half_a_surrogate_in_a_fields_name_can_be_told() -> None:
    written = letter(b"{}", Violation("\ud800", "given twice"))
    assert dict(written.headers)["failed_fields"] == b"\\ud800"


def test_a_value_that_was_compressed_at_its_source_is_cut_and_says_so() -> None:
    cut = letter(b"x" * 5_000_000, Violation("value", "too long"), headers=(("big", b"y" * 100_000),)).cut_to(70_000)
    told = dict(cut.headers)
    assert cut.size_bytes <= 70_000
    assert (told["value_bytes"], told["source_offset"]) == (b"5000000", b"41")
    assert cut.value is not None
    assert cut.value.startswith(b"xxx")


@given(st.binary(max_size=300), st.integers(30_000, 30_400), st.integers(0, 60_000))
def test_a_letter_fits_its_limit_or_stays_whole(value: bytes, limit: int, header: int) -> None:
    whole = letter(value, Violation("a", "bad"), headers=(("theirs", b"y" * header),))
    cut = whole.cut_to(limit)
    assert cut.size_bytes <= limit
    assert cut == whole or whole.size_bytes > limit
