"""Which dead letters are meant, and which of them are copies of one another.

Place in the flow: `habitus dlq ls|show|replay` look through a topic's letters with these, one letter at a time.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

from feature_repo.person import ALIASES
from streams.letters.dead_letters import DeadLetterRead
from streams.messages import Shard


@dataclass(frozen=True)
class Selection:
    """What a letter must be to be meant; an empty one means every letter.

    `reason` is a part of the reason, in whatever case; `field` one of the violated fields, under either of its names; `since`
    and `until` bound the time of the rejection, both included; `numbers` are places in the dead-letter topic.
    """

    error_class: str | None = None
    reason: str | None = None
    field: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    numbers: frozenset[int] | None = None

    def __contains__(self, letter: object) -> bool:
        return (
            isinstance(letter, DeadLetterRead)
            and (self.numbers is None or letter.offset in self.numbers)
            and (self.error_class is None or letter.error_class == self.error_class)
            and (self.reason is None or self.reason.casefold() in letter.reason.casefold())
            and (self.field is None or bool({self.field, ALIASES.get(self.field, self.field)} & set(letter.failed_fields)))
            and self._is_of_the_time(letter)
        )

    def _is_of_the_time(self, letter: DeadLetterRead) -> bool:
        if self.since is None and self.until is None:
            return True
        failed = letter.failed
        return (
            failed is not None and (self.since is None or failed >= self.since) and (self.until is None or failed <= self.until)
        )


class Copies:
    """Knows which letters it was shown are copies: a crash may bury a message twice, and it is one letter all the same.

    It keeps one number a letter, never the letter.
    """

    def __init__(self) -> None:
        self._seen: dict[Shard, set[int]] = {}
        self._again: Counter[tuple[Shard, int]] = Counter()

    def is_first(self, letter: DeadLetterRead) -> bool:
        """Whether no letter of the same source offset was shown before."""
        seen = self._seen.setdefault(letter.source, set())
        place = _place(letter)
        if place in seen:
            self._again[letter.source, place] += 1
            return False
        seen.add(place)
        return True

    def of(self, letter: DeadLetterRead) -> int:
        """How many letters of its source offset were shown."""
        return (_place(letter) in self._seen.get(letter.source, ())) + self._again[letter.source, _place(letter)]


def distinct(letters: Iterable[DeadLetterRead], selection: Selection, copies: Copies) -> Iterator[DeadLetterRead]:
    """Of the selected `letters` the first of each source offset, while `copies` learns of all."""
    return (letter for letter in letters if letter in selection and copies.is_first(letter))


@dataclass
class Count:
    """How many letters there are, each source offset once; a letter counts for every field that it names."""

    total: int = 0
    by_class: Counter[str] = field(default_factory=Counter)
    by_field: Counter[str] = field(default_factory=Counter)

    def add(self, letter: DeadLetterRead) -> None:
        """Count one more."""
        self.total += 1
        self.by_class[letter.error_class] += 1
        self.by_field.update(dict.fromkeys(letter.failed_fields, 1))


def _place(letter: DeadLetterRead) -> int:
    """The source offset; of a foreign message, which has none, something that no other letter has."""
    return letter.source_offset if letter.source_offset >= 0 else -1 - letter.offset
