"""A backfill beside others who move the same things: workers at work, a second backfill, a topic that is made anew."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from feature_repo.features import FEATURE_NAMES
from feature_repo.offline.epochs import Plan
from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.temporal import STATE_VERSION
from streams import backfill as module
from streams import materialisation
from streams.backfill import backfill
from streams.messages import Message
from streams.persistence import Attempt, Persistence
from streams.rebuild import Rebuild
from streams.shards import HistoryOfAnotherLog

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS = "person.records"
LOOKS_AT_MOST = 200


def send(world: World, person: Person, *weights_kg: float, person_id: str = "a") -> list[Message]:
    """A record an hour, after those that are in the log."""
    first = sum(len(messages) for messages in world.log.values())
    return [
        world.send(person(person_id=person_id, event_timestamp=f"2024-05-01T{first + number:02}:00:00Z", weight_kg=weight_kg))
        for number, weight_kg in enumerate(weights_kg)
    ]


def weights_kg(world: World) -> list[float]:
    return [row["weight_kg"] for row in world.features.rows()]


def online_kg(world: World) -> dict[str, float]:
    return {person_id: row["weight_kg"] for person_id, (_, row) in world.online.persons.items()}


def before_opening(world: World, happens: Callable[[int], None], after: Callable[[], None] = lambda: None) -> None:
    """Let `happens` come between the last file of the build and the opening of the epoch, `after` right after that."""
    real = type(world.features.epochs).open

    def opens(epoch: int) -> None:
        happens(epoch)
        real(world.features.epochs, epoch)
        after()

    world.features.epochs.open = opens


def test_no_reader_goes_back_when_a_worker_moves_into_the_new_epoch_first(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: rows acknowledged in the old epoch after the build are in the new one before anything of it is online."""
    world.deliver(*send(world, person, 60))
    seen: list[float] = []
    real = type(world.online).apply

    def watched(store: Any, rows: Any, states: Any) -> None:
        real(store, rows, states)
        seen.append(online_kg(world)["a"])

    monkeypatch.setattr(type(world.online), "apply", watched)
    before_opening(
        world,
        lambda _: world.deliver(*send(world, person, 66)),
        lambda: world.deliver(*send(world, person, 67)),
    )
    backfill(world.shelf, RECORDS)
    assert seen == sorted(seen)
    assert seen[-1] == 67


def test_a_worker_that_starts_after_the_backfill_died_at_the_opening_shows_what_was_acknowledged(
    world: World, person: Person
) -> None:
    (first,) = send(world, person, 60)
    world.deliver(first)

    def dies() -> None:
        raise world.killed

    before_opening(world, lambda _: world.deliver(*send(world, person, 66)), dies)
    with suppress(world.killed):
        backfill(world.shelf, RECORDS)
    world.restart()
    world.recover(first.shard)
    assert online_kg(world) == {"a": 66}


def test_of_two_backfills_the_later_starts_from_what_the_earlier_one_published_meanwhile(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: what was acknowledged in an epoch that came up in between is not lost to the last one."""
    world.deliver(*send(world, person, 60))
    epochs = world.features.epochs
    slow = Plan(1, FEATURE_NAMES, STATE_VERSION, f"1.2.3+{module.code_fingerprint()}", datetime(2024, 5, 1, tzinfo=UTC))
    epochs.plan(slow)
    epochs.bind_log(1, RECORDS, world.log_id(RECORDS))

    def the_slow_one_finishes(epoch: int) -> None:
        if epoch == 2:
            with monkeypatch.context() as goes_on:
                goes_on.setattr(module, "_plan", lambda *_args, **_options: slow)
                backfill(world.shelf, RECORDS)
            world.deliver(*send(world, person, 66), *send(world, person, 50, person_id="c"))

    before_opening(world, the_slow_one_finishes)
    assert backfill(world.shelf, RECORDS, restart=True).epoch == 2
    assert weights_kg(world) == [60, 66, 50]
    assert online_kg(world) == {"a": 66, "c": 50}


def test_a_backfill_begun_by_other_code_and_opened_can_be_begun_anew(world: World, person: Person) -> None:
    world.deliver(*send(world, person, 60, 61))
    begun = Plan(1, FEATURE_NAMES, STATE_VERSION, "0.0.1+other", datetime(2024, 5, 1, tzinfo=UTC))
    world.features.epochs.plan(replace(begun))
    world.features.epochs.open(1)
    assert backfill(world.shelf, RECORDS, restart=True).epoch == 2
    assert weights_kg(world) == [60, 61]


@pytest.mark.parametrize("effects", range(12))
def test_a_topic_made_anew_under_a_backfill_that_was_cut_off_leaves_nothing_of_the_old_one(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, effects: int
) -> None:
    """Promise: no epoch mixes two topics, wherever the backfill was when the first one went."""
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 1)
    world.deliver(*send(world, person, 60, 61, 62, 63))
    world.fate.effects_left = effects
    with suppress(world.killed):
        backfill(world.shelf, RECORDS)
    world.fate.effects_left = None
    make_anew(world)
    world.restart()
    send(world, person, 90, 91, 92, 93)
    backfill(world.shelf, RECORDS)
    assert weights_kg(world) == [90, 91, 92, 93]
    assert online_kg(world) == {"a": 93}


def make_anew(world: World) -> None:
    """The topic is deleted and made anew; Kafka forgets what was acknowledged of it."""
    world.log.clear()
    world.acknowledged_offsets.clear()
    world.log_ids[RECORDS] = "the second"


@pytest.mark.parametrize("moment", ["between two files", "before the opening", "before the publication"])
def test_a_topic_made_anew_while_a_backfill_runs_is_noticed_before_anybody_reads_a_mixture(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 1)
    world.deliver(*send(world, person, 60, 61, 62, 63))
    real = Rebuild._extend

    def swap(_rebuild: Rebuild, batch: Any) -> Any:
        made = real(_rebuild, batch)
        last = 1 if moment == "between two files" else 3
        if batch.last == last and world.log_id(RECORDS) != "the second" and moment != "before the publication":
            make_anew(world)
            send(world, person, 90, 91, 92, 93)
        return made

    def after_opening() -> None:
        if moment == "before the publication":
            make_anew(world)
            send(world, person, 90, 91, 92, 93)

    monkeypatch.setattr(Rebuild, "_extend", swap)
    before_opening(world, lambda _: None, after_opening)
    with pytest.raises(HistoryOfAnotherLog):
        backfill(world.shelf, RECORDS)
    assert world.features.epochs.current() == 0
    world.restart()
    backfill(world.shelf, RECORDS)
    assert weights_kg(world) == [90, 91, 92, 93]


def test_an_epoch_that_the_online_store_is_in_is_not_begun_again_by_a_ledger_that_forgot_it(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(*send(world, person, 60))
    backfill(world.shelf, RECORDS)
    world.features.epochs = type(world.features.epochs)(world.fate)
    world.features.by_epoch.pop(1)
    world.restart()
    monkeypatch.setattr(module, "code_fingerprint", lambda: "other")
    assert backfill(world.shelf, RECORDS).epoch == 2


def test_readers_are_told_once_they_read_the_new_epoch(world: World, person: Person) -> None:
    world.deliver(*send(world, person, 60))
    told: list[int] = []
    backfill(world.shelf, RECORDS, readers_moved=lambda: told.append(world.features.epochs.current()))
    assert told == [1]


def test_a_backfill_killed_before_it_removed_who_is_gone_is_finished_by_the_next(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(*send(world, person, 60), *send(world, person, 70, person_id="b"))
    real = materialisation.materialise

    def refuse_b(located: Any, *arguments: Any) -> Any:
        if any(each.record.person_id == "b" for each in located):
            raise ZeroDivisionError
        return real(located, *arguments)

    def dies(*_: Any) -> int:
        raise world.killed

    monkeypatch.setattr(materialisation, "materialise", refuse_b)
    with monkeypatch.context() as first:
        first.setattr(type(world.online), "remove_older", dies)
        with suppress(world.killed):
            backfill(world.shelf, RECORDS)
    assert set(world.online.persons) == {"a", "b"}
    done = backfill(world.shelf, RECORDS)
    assert (done.epoch, done.removed_persons) == (1, 1)
    assert set(world.online.persons) == {"a"}


@pytest.mark.parametrize("made_anew", [True, False])
def test_a_backfill_ends_however_busy_the_stream_is(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, *, made_anew: bool
) -> None:
    """Promise: it goes as far as the old epoch, or the log at its start, went; it does not chase what comes meanwhile."""
    world.deliver(*send(world, person, 60))
    if made_anew:
        make_anew(world)
        world.restart()
        send(world, person, 61)
    looks: list[int] = []
    real = Rebuild.look_again
    worker_is_at_it = False

    def worker_goes_on() -> None:
        nonlocal worker_is_at_it
        worker_is_at_it = True
        world.deliver(*send(world, person, 62))
        worker_is_at_it = False

    def looks_again(rebuild: Rebuild) -> None:
        real(rebuild)
        if world.features.epochs.opened and not worker_is_at_it:
            looks.append(rebuild.end)
            assert len(looks) < LOOKS_AT_MOST
            worker_goes_on()

    monkeypatch.setattr(Rebuild, "look_again", looks_again)
    before_opening(world, lambda _: None, worker_goes_on)
    backfill(world.shelf, RECORDS)
    assert world.features.epochs.current() == 1


def test_a_file_that_a_rival_adds_while_states_are_read_is_folded_too(
    world: World, person: Person, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a worker that follows into an epoch beside the backfill that finishes it continues states of all its rows."""
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 2)
    world.features = History(LocalFiles(tmp_path), PERSON_FEATURES)
    world.shelf = replace(world.shelf, features=world.features)
    world.restart()
    messages = send(world, person, *range(60, 68))
    world.deliver(*messages)
    epochs = world.features.epochs
    epochs.plan(Plan(1, FEATURE_NAMES, STATE_VERSION, "x", world.shelf.clock.now()))
    epochs.bind_log(1, RECORDS, world.log_id(RECORDS))
    rival = replace(world.shelf, features=History(LocalFiles(tmp_path), PERSON_FEATURES)).at(1)
    finishing = Rebuild(messages[0].shard, rival).extend(7)
    next(finishing)
    epochs.open(1)
    read = iter([1])

    def told(attempt: Attempt) -> None:
        if attempt.what == "reading history" and next(read, None):
            next(finishing)

    world.shelf = replace(world.shelf, persistence=Persistence(3, lambda _: None, told))
    world.restart()
    world.recover(messages[0].shard)
    rows = world.features.at(1).scan(["source_offset", "records_seen"]).sort_by("source_offset")
    assert rows["records_seen"].to_pylist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_backfill_begun_anew_reaches_beyond_what_the_one_before_had_built(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: an epoch that nobody opened tells nothing of how far there is to go."""
    world.deliver(*send(world, person, 60))
    make_anew(world)
    world.restart()
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 2)
    send(world, person, *range(90, 96))
    world.fate.effects_left = 8
    with suppress(world.killed):
        backfill(world.shelf, RECORDS)
    world.fate.effects_left = None
    assert 0 < len(world.features.at(1).rows()) < 6
    backfill(world.shelf, RECORDS, restart=True)
    assert weights_kg(world) == [90, 91, 92, 93, 94, 95]
