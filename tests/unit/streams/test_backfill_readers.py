"""What readers see while a backfill is cut off again and again: at no time less than what they saw before it."""

from collections.abc import Callable
from typing import Any

from streams.backfill import backfill

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS = "person.records"


def test_readers_see_a_whole_history_wherever_a_backfill_is_cut_off(world: World, person: Person) -> None:
    """Promise: the epoch that is read covers all that was acknowledged, also after a kill at any effect of the backfill."""
    sent = [world.send(person(event_timestamp=f"2024-05-01T0{hour}:00:00Z", obesity_level="Normal_Weight")) for hour in range(8)]
    for message in sent:
        world.deliver(message)
    whole = world.features.rows()
    cut_off = 0
    while world.features.epochs.current() == 0:
        world.fate.effects_left = cut_off
        try:
            backfill(world.shelf, RECORDS)
        except world.killed:
            cut_off += 1
        assert world.features.rows() == whole
    world.fate.effects_left = None
    assert cut_off > 0
    assert world.features.rows() == whole
