"""A history that was set back to a backup gets back, from the log, all that it is known to have held."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from streams.backfill import backfill
from streams.messages import Message, Shard

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS = "person.records"


@pytest.fixture
def sent(world: World, person: Person) -> list[Message]:
    """Four records of a person, delivered in two batches."""
    messages = [hourly(world, person, hour) for hour in range(4)]
    world.deliver(*messages[:2])
    world.deliver(*messages[2:])
    return messages


def hourly(world: World, person: Person, hour: int) -> Message:
    fields = person(person_id="a", event_timestamp=f"2024-05-01T0{hour}:00:00Z", weight_kg=60 + hour)
    message: Message = world.send(fields)
    return message


def set_history_back(world: World, shard: Shard) -> None:
    """To what it was before the last batch; the worker that comes up then knows nothing else."""
    world.features.at(0).files[shard].pop()
    world.restart()


def offsets(world: World) -> list[int]:
    return [row["source_offset"] for row in world.features.rows()]


def test_a_history_set_back_under_a_living_online_store_is_made_whole_before_the_next_record(
    world: World, person: Person, sent: list[Message]
) -> None:
    set_history_back(world, sent[0].shard)
    world.deliver(hourly(world, person, 5))
    assert offsets(world) == [0, 1, 2, 3, 4]
    assert [row["records_seen"] for row in world.features.rows()] == [1, 2, 3, 4, 5]


def test_a_history_and_an_online_store_set_back_together_are_made_whole_though_nothing_is_delivered(
    world: World, person: Person, sent: list[Message]
) -> None:
    """Promise: what was acknowledged is never delivered again, so its absence alone must tell."""
    alone = deepcopy((world.features.rows(), world.online.persons["a"][1]))
    world.online.persons["a"] = (world.online.persons["a"][0].__class__(), world.features.rows()[1])
    world.online.watermarks.clear()
    set_history_back(world, sent[0].shard)
    world.recover(sent[0].shard)
    assert (world.features.rows(), world.online.persons["a"][1]) == alone


def test_a_backfill_of_a_history_set_back_reaches_as_far_as_what_was_acknowledged(world: World, sent: list[Message]) -> None:
    set_history_back(world, sent[0].shard)
    backfill(world.shelf, RECORDS)
    assert offsets(world) == [0, 1, 2, 3]
    assert world.online.persons["a"][1]["weight_kg"] == 63


def test_an_offline_store_of_before_a_backfill_is_backfilled_again(world: World, person: Person, sent: list[Message]) -> None:
    """The ledger forgot the epoch that the online store is in."""
    backfill(world.shelf, RECORDS)
    epochs = world.features.epochs
    epochs.plans.clear()
    epochs.opened = epochs.published = epochs.done = 0
    epochs.logs = {place: log_id for place, log_id in epochs.logs.items() if place[0] == 0}
    world.features.by_epoch.pop(1)
    world.restart()
    backfill(world.shelf, RECORDS)
    world.deliver(hourly(world, person, 5))
    assert offsets(world) == [*(each.offset for each in sent), 4]
    assert world.online.persons["a"][1]["weight_kg"] == 65


def test_a_batch_with_a_repeated_message_and_a_hole_is_read_from_the_log(world: World, person: Person) -> None:
    first, _, third = (hourly(world, person, hour) for hour in range(3))
    world.deliver(first, first, third)
    assert offsets(world) == [0, 1, 2]
