"""A backfill makes history and online store anew, in a new epoch, while the stream goes on; it may be cut off anywhere."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.features import FEATURE_NAMES
from feature_repo.offline.epochs import Plan
from feature_repo.temporal import STATE_VERSION
from streams import materialisation
from streams.backfill import Backfilled, BegunByOtherCode, backfill
from streams.messages import Message
from streams.shards import EpochOfNewerCode, LedgerSetBack

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS = "person.records"
RECORD = st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(40, 90), st.sampled_from(["good", "labelled", "bad"]))


def send(world: World, person: Person, drawn: list[tuple[str, int, int, str]]) -> list[Message]:
    sent = []
    for person_id, hour, weight_kg, kind in drawn:
        fields = person(person_id=person_id, event_timestamp=f"2024-05-01T0{hour}:00:00Z", weight_kg=weight_kg)
        fields |= {"obesity_level": "Normal_Weight"} if kind == "labelled" else {}
        sent.append(world.send({"person_id": person_id} if kind == "bad" else fields))
    return sent


def rows_of(world: World, epoch: int) -> list[dict[str, Any]]:
    return list(world.features.at(epoch).rows())


def online_rows(world: World) -> dict[str, dict[str, Any]]:
    return {person_id: row for person_id, (_, row) in world.online.persons.items()}


SOME = [("a", 1, 60, "good"), ("b", 2, 70, "labelled"), ("a", 0, 61, "good"), ("b", 3, 72, "bad"), ("a", 4, 64, "good")]


def test_a_backfill_gives_bit_for_bit_what_the_stream_gave(world: World, person: Person) -> None:
    world.deliver(*send(world, person, SOME))
    live, online, published = rows_of(world, 0), online_rows(world), len(world.publisher.published)
    done = backfill(world.shelf, RECORDS)
    assert done == Backfilled(1, messages=5, accepted=4, rejected=1)
    assert rows_of(world, 1) == live == world.features.rows()
    assert online_rows(world) == online
    assert {state.epoch for state, _ in world.online.persons.values()} == {1}
    assert len(world.publisher.published) == published
    assert len(world.publisher.buried) == 1


def test_the_stream_goes_on_in_the_new_epoch_without_a_restart(world: World, person: Person) -> None:
    world.deliver(*send(world, person, SOME))
    backfill(world.shelf, RECORDS)
    assert world.deliver(*send(world, person, [("a", 5, 66, "good")])).accepted == 1
    assert rows_of(world, 1)[-1]["records_seen"] == 4
    assert online_rows(world)["a"]["weight_kg"] == 66
    assert world.features.rows() == rows_of(world, 1)


def test_what_the_stream_acknowledged_while_a_backfill_ran_is_in_the_new_epoch(world: World, person: Person) -> None:
    """Promise: the worker's last batch in the old epoch is either seen by the backfill or done again."""
    world.deliver(*send(world, person, SOME))
    later = send(world, person, [("a", 5, 66, "good"), ("c", 1, 50, "labelled")])

    def opens_and_lets_the_stream_go_on(epoch: int) -> None:
        world.deliver(later[0])
        type(world.features.epochs).open(world.features.epochs, epoch)
        world.deliver(later[1])

    world.features.epochs.open = opens_and_lets_the_stream_go_on
    backfill(world.shelf, RECORDS)
    assert {(row["person_id"], row["weight_kg"]) for row in world.features.rows()} >= {("a", 66), ("c", 50)}
    assert len(world.features.rows()) == 6
    assert online_rows(world)["a"]["weight_kg"] == 66
    assert online_rows(world)["c"]["weight_kg"] == 50


def test_a_worker_that_was_extending_the_old_epoch_does_its_batch_again(world: World, person: Person) -> None:
    """Promise: what is written into an epoch that is no longer the one to be written is not acknowledged there."""
    world.deliver(*send(world, person, SOME))
    later = send(world, person, [("a", 5, 66, "good")])
    real = world.features.at(0).append

    def is_overtaken(*arguments: Any) -> Any:
        written = real(*arguments)
        world.features.epochs.plan(plan(1))
        world.features.epochs.open(1)
        return written

    stale = world.features.at(0)
    stale.append = is_overtaken
    world.shards[RECORDS]._history.at = lambda epoch: stale if epoch == 0 else world.features.by_epoch and _at(world, epoch)
    world.deliver(*later)
    assert [row["weight_kg"] for row in rows_of(world, 1) if row["person_id"] == "a"] == [60, 61, 64, 66]


def _at(world: World, epoch: int) -> Any:
    return type(world.features).at(world.features, epoch)


def plan(epoch: int, **overrides: Any) -> Plan:
    made = Plan(epoch, FEATURE_NAMES, STATE_VERSION, "9.9.9", datetime(2024, 5, 1, tzinfo=UTC))
    return replace(made, **overrides)


@given(drawn=st.lists(RECORD, min_size=1, max_size=15), deaths=st.lists(st.integers(0, 25), max_size=4), split=st.integers(0, 15))
@settings(max_examples=60, deadline=None)
def test_a_backfill_that_is_cut_off_anywhere_is_finished_by_the_next(
    new_world: Callable[[], World], person: Person, drawn: list[tuple[str, int, int, str]], deaths: list[int], split: int
) -> None:
    """Promise: killed at any effect, with the stream at work in between, the end is that of the stream alone."""
    world, alone = new_world(), new_world()
    alone.deliver(*send(alone, person, drawn))
    sent = send(world, person, drawn)
    if sent[:split]:
        world.deliver(*sent[:split])
    for effects in deaths:
        world.fate.effects_left = effects
        with suppress(world.killed):
            backfill(world.shelf, RECORDS)
        world.fate.effects_left = None
    done = backfill(world.shelf, RECORDS)
    if sent[split:]:
        world.deliver(*sent[split:])
    assert world.features.epochs.current() == world.features.epochs.written() == done.epoch
    assert world.features.rows() == alone.features.rows()
    assert online_rows(world) == online_rows(alone)
    assert {each.value for each in world.publisher.labelled} == {each.value for each in alone.publisher.labelled}
    assert letters(world) == letters(alone)


def letters(world: World) -> set[tuple[str, str]]:
    return {(each["source_partition"], each["source_offset"]) for each in world.publisher.reasons()}


def test_a_judgement_that_changed_is_made_good(world: World, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: who is rejected only now gets a dead letter, who is accepted only now keeps his label; nothing is said twice."""
    real = materialisation.materialise

    def refuse_b(located: Any, *arguments: Any) -> Any:
        if any(each.record.person_id == "b" for each in located):
            raise ZeroDivisionError
        return real(located, *arguments)

    with monkeypatch.context() as before:
        before.setattr(materialisation, "materialise", refuse_b)
        world.deliver(*send(world, person, SOME))
    assert (len(world.publisher.buried), len(world.publisher.labelled)) == (2, 0)
    done = backfill(world.shelf, RECORDS)
    assert (done.newly_accepted, done.newly_rejected) == (1, 0)
    assert json.loads(world.publisher.labelled[0].value)["person_id"] == "b"
    with monkeypatch.context() as after:
        after.setattr(materialisation, "materialise", refuse_b)
        done = backfill(world.shelf, RECORDS)
    assert (done.epoch, done.newly_accepted, done.newly_rejected, done.removed_persons) == (2, 0, 1, 1)
    assert "b" not in world.online.persons


@pytest.mark.parametrize("effects", range(10))
def test_a_judgement_that_changed_is_made_good_though_the_backfill_is_killed(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, effects: int
) -> None:
    """Promise: letters and labels are sent before the file that covers them exists."""
    real = materialisation.materialise
    refused = "a"

    def refuse(located: Any, *arguments: Any) -> Any:
        if any(each.record.person_id == refused for each in located):
            raise ZeroDivisionError
        return real(located, *arguments)

    monkeypatch.setattr(materialisation, "materialise", refuse)
    world.deliver(*send(world, person, [("a", 1, 60, "labelled"), ("b", 2, 70, "labelled")]))
    refused = "b"
    world.fate.effects_left = effects
    with suppress(world.killed):
        backfill(world.shelf, RECORDS)
    world.fate.effects_left = None
    backfill(world.shelf, RECORDS)
    assert len(letters(world)) == 2
    assert {json.loads(each.value)["person_id"] for each in world.publisher.labelled} == {"a", "b"}


def test_a_worker_that_moves_on_while_the_online_store_is_filled_does_not_end_the_backfill(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deliver(*send(world, person, SOME))
    real = type(world.features).read_after
    moved = False

    def read_after(history: Any, *place: Any) -> Any:
        nonlocal moved
        if world.features.epochs.opened == 1 and not moved and world.online.watermark_epochs:
            moved = True
            world.deliver(*send(world, person, [("a", 6, 68, "good")]))
        return real(history, *place)

    monkeypatch.setattr(type(world.features), "read_after", read_after)
    backfill(world.shelf, RECORDS)
    assert online_rows(world)["a"]["weight_kg"] == 68


def test_a_worker_that_is_assigned_a_shard_while_epochs_switch_waits_for_its_first_batch(world: World, person: Person) -> None:
    sent = send(world, person, SOME)
    world.deliver(*sent)
    world.online.watermark_epochs[sent[0].shard] = 1
    world.recover(sent[0].shard)
    assert world.features.epochs.written() == 0


def test_of_a_topic_made_anew_a_backfill_takes_what_it_holds(world: World, person: Person) -> None:
    world.deliver(*send(world, person, SOME))
    world.log.clear()
    world.log_ids[RECORDS] = "the second"
    world.restart()
    fresh = send(world, person, [("c", 1, 50, "labelled"), ("c", 2, 51, "bad")])
    done = backfill(world.shelf, RECORDS)
    assert (done.accepted, done.rejected, done.removed_persons) == (1, 1, 2)
    assert [row["person_id"] for row in world.features.rows()] == ["c"]
    assert world.deliver(*fresh).redelivered == 2
    assert set(world.online.persons) == {"c"}
    assert len(world.publisher.buried) == 2


def test_no_reader_sees_an_older_row_while_the_online_store_changes_epoch(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.rebuild.MESSAGES_A_FILE", 1)
    world.deliver(*send(world, person, [("a", hour, 60 + hour, "good") for hour in range(5)]))
    seen: list[float] = []
    real = type(world.online).apply

    def watched(store: Any, rows: Any, states: Any) -> None:
        real(store, rows, states)
        seen.append(world.online.persons["a"][1]["weight_kg"])

    monkeypatch.setattr(type(world.online), "apply", watched)
    backfill(world.shelf, RECORDS)
    assert seen
    assert set(seen) == {64}


def test_what_the_log_holds_no_more_is_covered_by_the_next_message(world: World, person: Person) -> None:
    """Promise: no file is made of nothing: a worker that makes the next one at the same time would not meet it."""
    sent = send(world, person, [("a", hour, 60 + hour, "good") for hour in range(3)])
    world.deliver(*sent)
    del world.log[sent[0].shard][-1]
    backfill(world.shelf, RECORDS)
    assert world.features.at(1).end(RECORDS, sent[0].shard.partition) == 1
    fields = person(person_id="a", event_timestamp="2024-05-01T09:00:00Z")
    world.deliver(world.send(fields, offset=3))
    assert [row["source_offset"] for row in rows_of(world, 1)] == [0, 1, 3]


def test_other_code_does_not_finish_what_it_did_not_begin(world: World, person: Person) -> None:
    world.deliver(*send(world, person, SOME))
    world.features.epochs.plan(plan(1, app_version="0.0.1+other"))
    with pytest.raises(BegunByOtherCode, match="epoch 1") as refused:
        backfill(world.shelf, RECORDS)
    assert "--restart" in refused.value.remedy
    assert backfill(world.shelf, RECORDS, restart=True).epoch == 2
    assert len(rows_of(world, 2)) == 4


@pytest.mark.parametrize("newer", [{"features": (*FEATURE_NAMES, "shoe_size")}, {"state_version": STATE_VERSION + 1}])
def test_a_worker_of_an_older_version_does_not_write_into_an_epoch_of_a_newer_one(
    world: World, person: Person, newer: dict[str, Any]
) -> None:
    world.deliver(*send(world, person, SOME))
    world.features.epochs.plan(plan(1, **newer))
    world.features.epochs.open(1)
    later = send(world, person, [("a", 5, 66, "good")])
    with pytest.raises(EpochOfNewerCode, match=r"shoe_size|another state"):
        world.deliver(*later)
    assert rows_of(world, 1) == []


def test_a_store_that_moved_to_a_newer_epoch_tells_a_worker_that_did_not(world: World, person: Person) -> None:
    """Promise: an online store of an epoch that the ledger does not know is not written over."""
    sent = send(world, person, SOME)
    world.online.watermarks[sent[0].shard], world.online.watermark_epochs[sent[0].shard] = 7, 3
    with pytest.raises(LedgerSetBack) as refused:
        world.deliver(sent[0])
    assert "habitus backfill" in refused.value.remedy
    assert rows_of(world, 0) == []
