"""Finding the record that the code cannot take: a fault nobody thought of costs one record, not its batch and not the stream.

Place in the flow: around the pure steps of a batch. What fails in an effect is no poison: it is tried again.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from streams.letters.dead_letters import Rejected
from streams.validation import NOT_THE_RECORD, Accepted, poison

C = TypeVar("C")
T = TypeVar("T")


def without_poison(
    accepted: Sequence[Accepted[C]], work: Callable[[Sequence[Accepted[C]]], T]
) -> tuple[Sequence[Accepted[C]], T, list[Rejected]]:
    """Those of `accepted` that `work` takes, what it makes of them, and the others, rejected.

    `work` is pure and goes through its input in order, so a record is poison if the shortest beginning that fails ends
    with it: a handful of runs on ever shorter parts find it.
    """
    bad: list[Rejected] = []
    rest = list(accepted)
    while True:
        made = _try(work, rest)
        if not isinstance(made, _Failed):
            return rest, made, bad
        found = rest.pop(_first_poison(work, rest))
        bad.append(Rejected(found.message, poison(found.message, made.error)))


@dataclass(frozen=True)
class _Failed:
    error: Exception


def _try(work: Callable[[Sequence[Accepted[C]]], T], accepted: Sequence[Accepted[C]]) -> T | _Failed:
    try:
        return work(accepted)
    except NOT_THE_RECORD:
        raise
    except Exception as error:  # noqa: BLE001  whatever a record does to the code costs that record and nothing else
        return _Failed(error)


def _first_poison(work: Callable[[Sequence[Accepted[C]]], T], accepted: Sequence[Accepted[C]]) -> int:
    """The index of the last record of the shortest beginning on which `work` fails; it fails on all of them."""

    def fails(count: int) -> int:
        return isinstance(_try(work, accepted[:count]), _Failed)

    return bisect_left(range(1, len(accepted)), 1, key=fails)
