"""A filter means what it says, and a message that was buried twice is one letter."""

from datetime import UTC, datetime
from typing import Any

import pytest

from runtime.errors import RecordRejected, Violation
from streams.letters.dead_letters import DeadLetterRead, Rejected, dead_letter
from streams.letters.selection import Copies, Count, Selection, distinct
from streams.messages import Message, Shard

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def letter(number: int = 0, offset: int = 41, partition: int = 1, failed_at: datetime = NOON) -> DeadLetterRead:
    error = RecordRejected("invalid_record", (Violation("weight_kg", "Too Low"), Violation("age_years", "too high")))
    made = dead_letter(Rejected(Message(Shard("t", partition), offset, 7, b"ann", b"{}"), error), "1.0", failed_at)
    return DeadLetterRead.of(number, made.key, made.value, made.headers)


@pytest.mark.parametrize(
    ("given", "is_meant"),
    [
        ({}, True),
        ({"error_class": "invalid_record"}, True),
        ({"error_class": "misrouted"}, False),
        ({"reason": "TOO low"}, True),
        ({"reason": "tall"}, False),
        ({"field": "weight_kg"}, True),
        ({"field": "Weight"}, True),
        ({"field": "weight"}, False),
        ({"since": NOON}, True),
        ({"since": NOON.replace(hour=13)}, False),
        ({"until": NOON}, True),
        ({"until": NOON.replace(hour=11)}, False),
        ({"numbers": frozenset({3})}, True),
        ({"numbers": frozenset({4})}, False),
        ({"numbers": frozenset({3}), "field": "gender"}, False),
    ],
)
def test_a_letter_is_meant_if_every_part_of_the_selection_says_so(given: dict[str, Any], is_meant: bool) -> None:
    assert (letter(3) in Selection(**given)) is is_meant


def test_a_foreign_message_is_of_no_time() -> None:
    foreign = DeadLetterRead.of(0, None, None, [])
    assert foreign in Selection()
    assert foreign not in Selection(since=NOON)


def test_letters_are_counted_by_distinct_source_offset() -> None:
    copies, count = Copies(), Count()
    letters = [letter(0, 41), letter(1, 42), letter(2, 41), letter(3, 41, partition=0), letter(4, 41)]
    for each in distinct(letters, Selection(), copies):
        count.add(each)
    assert (count.total, count.by_class, count.by_field) == (3, {"invalid_record": 3}, {"weight_kg": 3, "age_years": 3})
    assert [copies.of(each) for each in letters] == [3, 1, 3, 1, 3]
    assert copies.of(letter(0, 99)) == 0


def test_foreign_messages_are_no_copies_of_one_another() -> None:
    copies = Copies()
    assert all(copies.is_first(DeadLetterRead.of(number, None, None, [])) for number in range(3))
