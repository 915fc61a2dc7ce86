"""Which persons are compared: all, those with the smallest hashes, or named ones.

A person is in a sample by the hash of the name alone, wherever the name turns up: online, in the history or in the raw log.
So whoever is missing in one of them is found as well as everybody else.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest

import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.gate import person_hash
from streams.messages import Message


@dataclass(frozen=True)
class Chosen:
    """Those persons for whom `has` holds; `size` None if that may be anybody."""

    has: Callable[[str], bool]
    size: int | None = None

    def rows(self, table: pa.Table) -> pa.Table:
        """The rows of chosen persons."""
        if self.size is None:
            return table
        persons = [each for each in pc.unique(table["person_id"]).to_pylist() if self.has(each)]
        return table.filter(pc.is_in(table["person_id"], pa.array(persons, pa.string())))

    def messages(self, messages: Iterable[Message]) -> list[Message]:
        """The messages that can be of chosen persons: whoever is named otherwise than the key is rejected anyway."""
        if self.size is None:
            return list(messages)
        return [each for each in messages if each.key is not None and self.has(each.key.decode(errors="replace"))]


EVERYBODY = Chosen(lambda _: True)


def named(persons: Iterable[str]) -> Chosen:
    """Those persons."""
    known = frozenset(persons)
    return Chosen(known.__contains__, len(known))


def sample(size: int, persons: Iterable[str]) -> Chosen:
    """Of `persons` the `size` with the smallest hashes, and whoever else has such a hash."""
    smallest = nsmallest(size, map(person_hash, persons))
    if len(smallest) < size:
        return EVERYBODY
    return Chosen(lambda person_id: person_hash(person_id) <= smallest[-1], size)
