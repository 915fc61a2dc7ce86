"""A dead letter never fails for its size, and reads back as what it was."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import RecordRejected, Unavailable, Violation
from runtime.topics import RECORD_LIMIT_BYTES
from streams.handlers import Applied
from streams.letters.dead_letters import ORIGIN_HEADERS, DeadLetter, DeadLetterRead, Origin, Rejected, dead_letter
from streams.messages import Message, Shard

NOW = datetime(2024, 5, 1, tzinfo=UTC)


def letter(value: bytes | None, *violations: Violation, headers: tuple[tuple[str, bytes], ...] = ()) -> DeadLetter:
    message = Message(Shard("t", 3), 41, 7, b"ann", value, headers)
    return dead_letter(Rejected(message, RecordRejected("invalid_record", violations)), "1.0", NOW)


def test_a_dead_letter_reads_back_as_what_it_was() -> None:
    written = letter(b"\xff", Violation("a", "bad"), Violation("b", "worse"), headers=(("source_topic", b"older"),))
    read = DeadLetterRead.of(5, written.key, written.value, written.headers)
    assert (read.offset, read.source, read.source_offset) == (5, Shard("t", 3), 41)
    assert (read.error_class, read.failed_fields, read.value) == ("invalid_record", ("a", "b"), b"\xff")
    assert (read.reason, read.app_version, read.failed_at) == ("a: bad; b: worse", "1.0", "2024-05-01T00:00:00Z")
    assert (read.source_timestamp_ms, read.failed, read.headers) == (7, NOW, (("source_topic", b"older"),))


def test_a_foreign_message_in_a_dead_letter_topic_can_be_shown() -> None:
    assert DeadLetterRead.of(0, None, None, []).error_class == ""


def test_a_letter_of_an_older_version_does_not_know_its_messages_time() -> None:
    """Promise: a header of the source that is called as one of ours is never taken for it."""
    written = letter(b"", Violation("a", "bad"), headers=(("source_timestamp_ms", b"99"),))
    older = [each for each in written.headers if each != ("source_timestamp_ms", b"7")]
    assert DeadLetterRead.of(0, None, b"", older).source_timestamp_ms is None


def test_a_letter_of_a_message_sent_first_is_its_own_origin() -> None:
    read = DeadLetterRead.of(5, *vars(letter(b"", Violation("a", "bad"))).values())
    assert (read.origin, read.origin_timestamp_ms) == (Origin("t", 3, 41, 1), 7)


def test_an_origin_that_makes_no_sense_is_none() -> None:
    headers = tuple((name, b"many") for name in ORIGIN_HEADERS)
    read = DeadLetterRead.of(5, *vars(letter(b"", Violation("a", "bad"), headers=headers)).values())
    assert (read.origin, read.origin_timestamp_ms) == (Origin("t", 3, 41, 1), 7)


def test_dead_letters_that_fail_for_a_while_hold_up_the_batch_and_lose_nothing(world: Any, person: Any) -> None:
    bad, good = world.send(person(weight_kg=1)), world.send(person())
    world.publisher.failures = 2
    assert world.deliver(bad, good) == Applied(accepted=1, rejected=1)
    assert (len(world.publisher.buried), len(world.features.rows())) == (1, 1)


def test_dead_letters_that_fail_for_good_leave_the_batch_unacknowledged(world: Any, person: Any) -> None:
    """Promise: nothing of the batch is in the history before its letters are acknowledged, so all of it comes again."""
    batch = [world.send(person(weight_kg=1)), world.send(person())]
    world.publisher.failures = 99
    with pytest.raises(Unavailable):
        world.deliver(*batch)
    assert (world.publisher.buried, world.features.rows(), world.online.persons) == ([], [], {})
    world.publisher.failures = 0
    world.restart()
    assert world.deliver(*batch) == Applied(accepted=1, rejected=1)


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
