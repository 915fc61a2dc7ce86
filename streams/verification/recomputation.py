"""The raw log materialised once more, and what each person's state must be at the record that the online store names."""

from collections.abc import Callable, Mapping, Sequence

from feature_repo.temporal import Observation, PersonState, advance, to_us
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Message


class Recomputation:
    """States of the persons of one partition, encoded: of a person with a full window a tenth of the objects' size."""

    def __init__(self, partitions: int, epoch: int, as_of: Callable[[str], int]) -> None:
        self._partitions = partitions
        self._epoch = epoch
        self._as_of = as_of
        self._states: dict[str, bytes] = {}
        self._held: dict[str, bytes | None] = {}  # of those whose records go on beyond where they are compared

    def extend(self, messages: Sequence[Message]) -> Materialised:
        """What the next messages give."""
        made = materialise_messages(messages, self._partitions, self._known, self._epoch)
        for person_id, state in made.states.items():
            if person_id not in self._held and state.offset > self._as_of(person_id):
                self._held[person_id] = self._stopped(person_id, made)
            self._states[person_id] = state.encode()
        return made

    def state(self, person_id: str) -> bytes | None:
        """The state after the last record at or below the person's `as_of`; None if there is no such record."""
        return self._held[person_id] if person_id in self._held else self._states.get(person_id)

    def persons(self) -> set[str]:
        """Everybody of whom a record was accepted."""
        return set(self._states)

    def _known(self, persons: Sequence[str]) -> Mapping[str, PersonState]:
        return {each: PersonState.decode(self._states[each]) for each in persons if each in self._states}

    def _stopped(self, person_id: str, made: Materialised) -> bytes | None:
        """The state before `made`, advanced by those records of it that are not later than `as_of`."""
        before, last = self._states.get(person_id), self._as_of(person_id)
        state = PersonState(self._epoch) if before is None else PersonState.decode(before)
        columns = (made.rows[name].to_pylist() for name in ("person_id", "event_timestamp", "source_offset", "weight_kg", "bmi"))
        for other, moment, offset, weight_kg, bmi in zip(*columns, strict=True):
            if other == person_id and offset <= last:
                state, _ = advance(state, Observation(to_us(moment), offset, weight_kg, bmi))
        return state.encode() if state.records_seen else None
