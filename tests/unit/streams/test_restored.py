"""A history that was set back to a backup: nothing is built on it that does not fit, and it is made whole from the log."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from streams.backfill import backfill
from streams.messages import Message, Shard
from streams.recovery import OnlineAhead

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


def test_a_history_set_back_under_a_living_online_store_is_refused_and_a_backfill_makes_it_whole(
    world: World, person: Person, sent: list[Message]
) -> None:
    set_history_back(world, sent[0].shard)
    later = hourly(world, person, 5)
    with pytest.raises(OnlineAhead, match="the history ends at 1") as refused:
        world.deliver(later)
    assert "habitus backfill" in refused.value.remedy
    backfill(world.shelf, RECORDS)
    world.deliver(later)
    assert offsets(world) == [0, 1, 2, 3, 4]
    assert [row["records_seen"] for row in world.features.rows()] == [1, 2, 3, 4, 5]


def test_states_ahead_of_a_history_set_back_are_no_rivals_work(world: World, sent: list[Message]) -> None:
    """Promise: a worker killed between rows and watermark leaves states alone to tell, and they do."""
    set_history_back(world, sent[0].shard)
    world.online.watermarks[sent[0].shard] = 1
    with pytest.raises(OnlineAhead) as refused:
        world.deliver(*sent[2:])
    assert "habitus backfill" in refused.value.remedy


def test_a_history_and_an_online_store_set_back_together_are_made_whole_by_the_next_record(world: World, person: Person) -> None:
    """Promise: what was acknowledged is never delivered again, and is read from the log before what is."""
    messages = [hourly(world, person, hour) for hour in range(4)]
    world.deliver(*messages[:2])
    persons, watermarks = deepcopy(world.online.persons), dict(world.online.watermarks)
    world.deliver(*messages[2:])
    world.online.persons, world.online.watermarks = persons, watermarks
    set_history_back(world, messages[0].shard)
    world.recover(messages[0].shard)
    world.deliver(hourly(world, person, 5))
    assert offsets(world) == [0, 1, 2, 3, 4]
    assert [row["records_seen"] for row in world.features.rows()] == [1, 2, 3, 4, 5]
    assert {offset for _, offset in world.publisher.published_offsets()} == {0, 1, 2, 3, 4}


def test_an_empty_history_beside_an_online_store_of_another_log_is_refused(world: World, person: Person) -> None:
    """Promise: no new record is folded on states that another log left, though the new one is longer by now."""
    world.deliver(hourly(world, person, 0))
    world.features.by_epoch.clear()
    world.features.epochs.logs.clear()
    world.log.clear()
    world.log_ids[RECORDS] = "the second"
    world.acknowledged_offsets.clear()
    world.restart()
    fresh = [hourly(world, person, hour) for hour in range(3)]
    with pytest.raises(OnlineAhead):
        world.deliver(*fresh)
    assert world.features.rows() == []


@pytest.mark.parametrize("told_by", ["acknowledgement", "watermark"])
def test_a_backfill_of_a_history_set_back_reaches_as_far_as_it_is_known_to_have_been(
    world: World, sent: list[Message], told_by: str
) -> None:
    set_history_back(world, sent[0].shard)
    if told_by == "watermark":
        world.acknowledged_offsets.clear()
    else:
        world.online.watermarks.clear()
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


def test_a_history_that_lost_a_file_is_made_anew_all_the_same(world: World, person: Person, sent: list[Message]) -> None:
    """Promise: what heals a hole does not need the hole to be whole."""
    world.deliver(hourly(world, person, 4))
    del world.features.at(0).files[sent[0].shard][1]
    world.restart()
    backfill(world.shelf, RECORDS)
    assert offsets(world) == [0, 1, 2, 3, 4]
    assert world.online.persons["a"][1]["weight_kg"] == 64
