"""A history that was set back to a backup: nothing is built on it that does not fit, and it is made whole from the log."""

from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History
from feature_repo.schemas import PERSON_FEATURES
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


def forget_the_first_backfill(world: World) -> None:
    """The offline store is what it was before."""
    epochs = world.features.epochs
    epochs.plans.clear()
    epochs.opened = epochs.published = epochs.done = 0
    epochs.logs = {place: log_id for place, log_id in epochs.logs.items() if place[0] == 0}
    world.features.by_epoch.pop(1)
    world.restart()


def test_an_epoch_that_only_the_online_store_remembers_tells_how_far_it_was(world: World, person: Person) -> None:
    """Promise: readers do not go back though neither ledger nor acknowledgements know what was applied."""
    messages = [hourly(world, person, hour) for hour in range(4)]
    world.deliver(*messages[:2])
    backfill(world.shelf, RECORDS)
    world.deliver(*messages[2:])
    forget_the_first_backfill(world)
    world.acknowledged_offsets.clear()
    backfill(world.shelf, RECORDS)
    assert world.online.persons["a"][1]["weight_kg"] == 63


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_history_with_a_torn_file_is_made_anew(world: World, person: Person, tmp_path: Path, place: int, damage: str) -> None:
    world = on_real_files(world, tmp_path)
    for hour in range(3):
        world.deliver(hourly(world, person, hour))
    tear(sorted(tmp_path.glob("person_features/dt=*/*.parquet"))[place], damage)
    world.restart()
    assert backfill(world.shelf, RECORDS).messages == 3
    world.restart()
    world.deliver(hourly(world, person, 3))
    assert sorted(world.features.scan(["source_offset"])["source_offset"].to_pylist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut", "lost"])
def test_a_backfill_whose_own_epoch_was_damaged_begins_anew(
    world: World, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    world = on_real_files(world, tmp_path)
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 1)
    for hour in range(5):
        world.deliver(hourly(world, person, hour))

    def dies(*_: Any) -> None:
        raise world.killed

    with monkeypatch.context() as first:
        first.setattr(type(world.features.epochs), "publish", dies)
        with suppress(world.killed):
            backfill(world.shelf, RECORDS)
    files = sorted(tmp_path.glob("person_features/epoch=1/dt=*/*.parquet"))
    tear(files[1], damage)
    assert backfill(world.shelf, RECORDS).epoch == 2
    assert world.features.scan().num_rows == 5


def on_real_files(world: World, folder: Path) -> World:
    world.features = History(LocalFiles(folder), PERSON_FEATURES)
    world.shelf = replace(world.shelf, features=world.features)
    world.restart()
    return world


def tear(file: Path, damage: str) -> None:
    data = file.read_bytes()
    file.unlink()
    if damage != "lost":
        flipped = data[:4] + bytes(each ^ 255 for each in data[4:200]) + data[200:]
        file.write_bytes({"cut": data[:100], "flipped": flipped, "empty": b""}[damage])
