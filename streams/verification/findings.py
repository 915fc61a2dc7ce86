"""Differences as they come up: all counted, a few of each kind told in a sentence; so a store that is all wrong fits too."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import chain, islice

from streams.verification.report import Counts, Kind, Pair

SHOWN = 20  # differences named in a report
_SHOWN_OF_A_KIND = 5


class Findings:
    """What one look found."""

    def __init__(self) -> None:
        self.positions: list[str] = []
        self._counts: Counter[tuple[Pair, Kind]] = Counter()
        self._persons: dict[Kind, set[str]] = {kind: set() for kind in Kind}
        self._told: dict[tuple[Pair, Kind], list[str]] = defaultdict(list)

    def add(self, pair: Pair, kind: Kind, person_id: str, tell: Callable[[], str]) -> None:
        """One person, or one row of a person, differs; `tell` says how."""
        self._counts[pair, kind] += 1
        self._persons[kind].add(person_id)
        if len(self._told[pair, kind]) < _SHOWN_OF_A_KIND:
            self._told[pair, kind].append(f"{person_id}: {tell()}")

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not (self.positions or self._counts)

    def persons(self, *kinds: Kind) -> frozenset[str]:
        """Who differs in one of `kinds` (none: in any)."""
        return frozenset(chain.from_iterable(self._persons[kind] for kind in kinds or Kind))

    def of(self, pair: Pair) -> Counts:
        """How often the two differ, by kind."""
        return Counts(**{kind.value: self._counts[pair, kind] for kind in Kind})

    def examples(self) -> tuple[str, ...]:
        """Some sentences, of each kind of difference at least one."""
        return tuple(islice(chain(self.positions, _in_turn(self._told.values())), SHOWN))


def _in_turn(lists: Iterable[list[str]]) -> Iterable[str]:
    sources = list(lists)
    for turn in range(_SHOWN_OF_A_KIND):
        yield from (each[turn] for each in sources if turn < len(each))
