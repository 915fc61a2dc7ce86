"""The order of work: what is where after each handler, and after the process was ended anywhere."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.errors import HistoryConflict, Unavailable
from runtime.kafka import partition_for
from streams import materialisation
from streams.messages import Message, Shard
from streams.recovery import OnlineAhead
from streams.shards import HistoryOfAnotherLog

Person = Callable[..., dict[str, Any]]
World = Any  # of this folder's conftest
RECORDS, LABELS, PREDICTED = "person.records", "person.labels", "predictions"
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)


def test_an_accepted_record_is_in_history_feature_topic_and_online_store(world: World, person: Person) -> None:
    sent = world.send(person())
    assert world.deliver(sent).accepted == 1
    (row,) = world.features.rows()
    assert (row["person_id"], row["source_offset"], row["ingested_at"]) == ("ann", sent.offset, sent.time)
    assert json.loads(world.publisher.published[0].value)["bmi"] == row["bmi"]
    assert world.publisher.published[0].key == b"ann"
    assert world.online.persons["ann"][1] == row
    assert world.online.watermarks == {sent.shard: sent.offset}


def test_a_level_inside_a_record_becomes_a_label_and_no_feature(world: World, person: Person) -> None:
    world.deliver(world.send(person(NObeyesdad="No_Such_Level"), timestamp_ms=NOON_MS - 1))
    (label,) = world.publisher.labelled
    assert json.loads(label.value) == {
        "person_id": "ann",
        "event_timestamp": "2024-05-01T10:00:00+00:00",
        "obesity_level": "No_Such_Level",
    }
    assert (label.key, label.timestamp_ms) == (b"ann", NOON_MS - 1)
    assert not {"obesity_level", "NObeyesdad"} & world.features.rows()[0].keys()


def test_a_split_label_is_a_label(world: World, person: Person) -> None:
    world.deliver(world.send(person(obesity_level="Normal_Weight")))
    (label,) = world.publisher.labelled
    sent = world.send(label.value, topic=LABELS, key=label.key, partition=world.features.rows()[0]["source_partition"])
    assert world.deliver(sent).accepted == 1
    assert world.labels.rows()[0]["obesity_level"] == "Normal_Weight"


def test_the_prediction_log_reaches_its_history(world: World, prediction: dict[str, Any]) -> None:
    world.deliver(world.send(prediction, topic=PREDICTED), world.send(b"?", topic=PREDICTED))
    (row,) = world.predictions.rows()
    assert (row["request_id"], row["p_Normal_Weight"], row["feature_offset"]) == ("r1", 0.9, 7)
    assert world.publisher.reasons()[0]["error_class"] == "undecodable"


def test_a_dead_letter_carries_the_message_and_why(world: World) -> None:
    message = world.send(b"?", headers=(("trace", b"7"), ("reason", b"theirs")))
    world.deliver(message)
    topic, letter = world.publisher.buried[0]
    assert (topic, letter.key, letter.value, letter.headers[0]) == (RECORDS, b"p", b"?", ("trace", b"7"))
    told = {name: value.decode() for name, value in letter.headers}
    assert told | {"reason": ""} == {
        "trace": "7",
        "source_topic": RECORDS,
        "source_partition": str(message.shard.partition),
        "source_offset": "0",
        "error_class": "undecodable",
        "reason": "",
        "failed_fields": "value",
        "app_version": "1.2.3",
        "failed_at": "2024-05-01T12:00:00Z",
        "source_timestamp_ms": str(NOON_MS),
    }
    assert "no JSON" in told["reason"]


def test_the_history_covers_rejected_records_from_the_topics_beginning(world: World, person: Person) -> None:
    """Promise: a range starts where the last one ended, at 0 in a new topic, whatever was rejected or is missing in the log."""
    first = [world.send(b"?", partition=0, offset=3), world.send(b"?", partition=0)]
    world.deliver(*first)
    world.deliver(world.send(b"?", partition=0, offset=9))
    ranges = [(offsets.first, offsets.last, rows.num_rows) for offsets, rows, _ in world.features.files[Shard(RECORDS, 0)]]
    assert ranges == [(0, 4, 0), (5, 9, 0)]


def test_the_folder_is_dated_by_the_first_message_accepted_or_not(world: World, person: Person) -> None:
    early = NOON - timedelta(days=3)
    partition = world.send(person()).shard.partition
    world.restart()
    world.log.clear()
    world.deliver(
        world.send(b"?", partition=partition, timestamp_ms=round(early.timestamp() * 1000)),
        world.send(person(event_timestamp=...)),
    )
    assert world.features.files[Shard(RECORDS, partition)][0][2] == early


@pytest.mark.parametrize("wiped", [(), ("watermarks",), ("watermarks", "persons")])
def test_two_owners_that_extend_the_same_end_conflict(world: World, person: Person, wiped: tuple[str, ...]) -> None:
    """Promise: of two workers that own a partition at once, the second stops before it publishes a row.

    It may notice by the watermark, by a person's state, or, where the online store came later, by the history itself.
    """
    sent = world.send(person())
    stalled = world.shards[RECORDS]
    stalled.mark_whole(sent.shard, stalled.end(sent.shard))
    world.restart()
    world.deliver(sent)
    world.shards[RECORDS] = stalled
    for each in wiped:
        getattr(world.online, each).clear()
    with pytest.raises(HistoryConflict):
        world.deliver(sent)
    assert (len(world.publisher.published), world.publisher.buried) == (1, [])


def test_a_redelivered_record_is_published_again_but_never_counted_twice(world: World, person: Person) -> None:
    sent = [world.send(person()), world.send(person(event_timestamp="2024-05-01T11:00:00Z"))]
    world.deliver(*sent)
    row = world.online.persons["ann"][1]
    world.restart()
    assert world.deliver(sent[1]).redelivered == 1
    assert world.deliver(*sent).redelivered == 2
    assert world.publisher.published_offsets() == [(sent[0].shard.partition, offset) for offset in (0, 1, 1, 0, 1)]
    assert (len(world.features.rows()), world.online.persons["ann"][1]) == (2, row)


@pytest.mark.parametrize("delivered", [(1, 2), (0, 2), (1, 0, 2), (2, 0), (2,)])
def test_a_message_that_was_not_delivered_is_read_from_the_log(world: World, person: Person, delivered: tuple[int, ...]) -> None:
    """Promise: a hole in the delivery is filled; a history file would hide it for ever."""
    sent = [world.send(person(event_timestamp=f"2024-05-01T0{hour}:00:00Z")) for hour in range(3)]
    world.deliver(*(sent[each] for each in delivered))
    assert [row["source_offset"] for row in world.features.rows()] == [0, 1, 2]
    assert world.online.watermarks == {sent[0].shard: 2}


def test_a_message_that_the_log_dropped_after_its_delivery_is_kept(world: World, person: Person) -> None:
    """Promise: what is in hand is handled, whatever else has to be read from the log."""
    sent = [world.send(person(event_timestamp=f"2024-05-01T0{hour}:00:00Z")) for hour in range(4)]
    world.log[sent[0].shard] = [sent[0], sent[1]]
    world.deliver(sent[2], sent[3])
    assert [row["source_offset"] for row in world.features.rows()] == [0, 1, 2, 3]


def test_a_label_that_was_not_delivered_is_read_from_the_log(world: World) -> None:
    fields = {"person_id": "ann", "event_timestamp": "2024-05-01T10:00:00Z", "obesity_level": "Normal_Weight"}
    sent = [world.send(fields, topic=LABELS) for _ in range(3)]
    assert world.deliver(sent[2]).accepted == 3
    assert [row["source_offset"] for row in world.labels.rows()] == [0, 1, 2]


def test_an_emptied_online_store_is_filled_from_the_history_before_the_next_fold(world: World, person: Person) -> None:
    world.deliver(world.send(person()))
    before = dict(world.online.persons)
    world.online.persons.clear()
    world.online.watermarks.clear()
    world.deliver(world.send(person(event_timestamp="2024-05-01T11:00:00Z")))
    assert before["ann"][1]["records_seen"] == 1
    assert world.features.rows()[1]["records_seen"] == 2
    assert world.online.persons["ann"][0].records_seen == 2


def test_an_emptied_online_store_is_filled_whole_by_the_first_record_of_any_shard(world: World, person: Person) -> None:
    sent = [world.send(person(person_id=name)) for name in "abcdef"]
    for message in sent:
        world.deliver(message)
    assert len({message.shard for message in sent}) > 1
    world.online.persons.clear()
    world.online.watermarks.clear()
    world.deliver(world.send(person(person_id="a", event_timestamp="2024-05-01T11:00:00Z")))
    assert set(world.online.persons) == set("abcdef")


def test_an_assigned_shard_is_caught_up_without_a_message(world: World, person: Person) -> None:
    sent = world.send(person())
    world.deliver(sent)
    held = dict(world.online.persons)
    world.online.persons.clear()
    world.online.watermarks.clear()
    world.restart()
    world.recover(sent.shard)
    assert (world.online.persons, world.online.watermarks) == (held, {sent.shard: 0})


def test_an_online_store_ahead_of_the_history_is_refused(world: World, person: Person) -> None:
    """Promise: a lost history is not papered over; the remedy is named."""
    sent = world.send(person())
    world.online.watermarks[sent.shard] = 5
    with pytest.raises(OnlineAhead, match="history ends at -1") as refused:
        world.deliver(sent)
    assert "HABITUS_PROJECT" in refused.value.remedy


def test_a_failing_effect_is_tried_again_with_growing_pauses(world: World, person: Person) -> None:
    world.publisher.failures = 2
    assert world.deliver(world.send(person(), key=b"bob")).rejected == 1
    assert world.pauses_s == [0.2, 0.4]


def test_an_effect_that_fails_for_good_stops_the_work_before_the_next_one(world: World) -> None:
    world.publisher.failures = 3
    with pytest.raises(Unavailable):
        world.deliver(world.send(b"?", partition=0))
    assert world.features.end(RECORDS, 0) is None


# Few persons and times, so that equal and late event times are usual; some records are bad, some bring a label.
RECORD = st.tuples(st.sampled_from("abc"), st.integers(0, 6), st.integers(40, 90), st.sampled_from(["good", "labelled", "bad"]))


def _send_all(world: World, person: Person, drawn: list[tuple[str, int, int, str]]) -> list[Message]:
    sent = []
    for person_id, hour, weight_kg, kind in drawn:
        fields = person(person_id=person_id, event_timestamp=f"2024-05-01T0{hour}:00:00Z", weight_kg=weight_kg)
        fields |= {"obesity_level": "Normal_Weight"} if kind == "labelled" else {}
        sent.append(world.send({"person_id": person_id} if kind == "bad" else fields))
    return sent


def _end_state(world: World) -> dict[str, Any]:
    """What must not depend on how the work was cut or interrupted; published messages count by their source offset."""
    letters = [dict(letter.headers) for _, letter in world.publisher.buried]
    return {
        "history": world.features.rows(),
        "online": world.online.persons,
        "watermarks": world.online.watermarks,
        "published": {(each.key, each.value) for each in world.publisher.published},
        "dead": {(each["source_partition"], each["source_offset"], each["failed_fields"]) for each in letters},
        "labels": {(each.key, each.value, each.timestamp_ms) for each in world.publisher.labelled},
    }


@given(drawn=st.lists(RECORD, min_size=1, max_size=25), cuts=st.lists(st.integers(1, 9), max_size=25))
@settings(max_examples=60, deadline=None)
def test_batch_cuts_change_nothing(
    new_world: Callable[[], World], person: Person, drawn: list[tuple[str, int, int, str]], cuts: list[int]
) -> None:
    """Promise: fold, history and online store are the same however the log is cut into batches."""
    whole, cut = new_world(), new_world()
    whole.deliver(*_send_all(whole, person, drawn))
    rest = _send_all(cut, person, drawn)
    for size in cuts:
        if rest[:size]:
            cut.deliver(*rest[:size])
        rest = rest[size:]
    if rest:
        cut.deliver(*rest)
    assert _end_state(cut) == _end_state(whole)


@given(
    drawn=st.lists(RECORD, min_size=1, max_size=20),
    lives=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 8)), max_size=5),
)
@settings(max_examples=120, deadline=None)
def test_a_batch_cut_otherwise_after_a_kill_changes_nothing(
    new_world: Callable[[], World], person: Person, drawn: list[tuple[str, int, int, str]], lives: list[tuple[int, int]]
) -> None:
    """Promise: killed at any effect, any number of times, redelivered in other cuts, the end is that of an undisturbed run."""
    undisturbed, killed = new_world(), new_world()
    undisturbed.deliver(*_send_all(undisturbed, person, drawn))
    sent = _send_all(killed, person, drawn)
    acknowledged = 0
    for effects, size in lives:
        killed.restart()
        killed.fate.effects_left = effects
        try:
            while acknowledged < len(sent):
                killed.deliver(*sent[acknowledged : acknowledged + size])
                acknowledged += size
        except killed.killed:
            continue
    killed.fate.effects_left = None
    killed.restart()
    killed.recover(*{each.shard for each in sent})
    if sent[acknowledged:]:
        killed.deliver(*sent[acknowledged:])
    assert _end_state(killed) == _end_state(undisturbed)


@pytest.mark.parametrize("effects", range(12))
def test_killed_at_each_effect_in_turn_the_end_is_that_of_an_undisturbed_run(
    new_world: Callable[[], World], person: Person, effects: int
) -> None:
    """Promise: there is no moment between two effects at which a kill costs a row, a letter, a label or a publication."""
    drawn = [("a", 1, 60, "labelled"), ("a", 2, 61, "bad"), ("a", 3, 62, "good")]
    undisturbed, killed = new_world(), new_world()
    undisturbed.deliver(*_send_all(undisturbed, person, drawn))
    sent = _send_all(killed, person, drawn)
    killed.fate.effects_left = effects
    with suppress(killed.killed):
        killed.deliver(*sent)
    killed.fate.effects_left = None
    killed.restart()
    killed.deliver(*sent)
    assert _end_state(killed) == _end_state(undisturbed)


def test_a_message_with_neither_key_nor_value_is_a_dead_letter_that_a_producer_can_send(world: World) -> None:
    applied = world.deliver(world.send(None, key=None))
    assert applied.rejected == 1
    assert world.publisher.buried[-1][1].value == b""
    assert "null" in world.publisher.reasons()[-1]["reason"]


@pytest.mark.parametrize("moment", ["states", "apply", "advance_watermark"])
def test_a_store_that_is_emptied_in_the_middle_of_a_batch_is_filled_from_the_history(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """Promise: a watermark never vouches for lost rows, and nothing is folded on states that were lost."""
    world.deliver(world.send(person(person_id="ann")))
    real = getattr(world.online, moment)

    def emptied_first(*arguments: Any) -> Any:
        monkeypatch.setattr(world.online, moment, real)
        world.online.persons.clear()
        world.online.watermarks.clear()
        return real(*arguments)

    monkeypatch.setattr(world.online, moment, emptied_first)
    second = world.send(person(person_id="ann", event_timestamp="2024-05-01T11:00:00Z"))
    world.deliver(second)
    assert world.features.rows()[1]["records_seen"] == 2
    state, row = world.online.persons["ann"]
    assert (state.records_seen, row["records_seen"]) == (2, 2)


@pytest.mark.parametrize("moment", ["states", "apply", "advance_watermark"])
@pytest.mark.parametrize("wiped", [1, 2])
def test_a_store_that_is_emptied_while_it_is_caught_up_is_caught_up_again(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch, moment: str, wiped: int
) -> None:
    """Promise: emptied at any call, however often, it ends with the rows and states of all records."""
    for hour in range(4):
        world.deliver(world.send(person(event_timestamp=f"2024-05-01T0{hour}:00:00Z")))
    held = dict(world.online.persons)
    shard = Shard(RECORDS, world.features.rows()[0]["source_partition"])
    world.online.watermarks[shard] = 1 if wiped == 1 else 3
    if wiped == 2:
        world.online.persons.clear()
        world.online.watermarks.clear()
    real, left = getattr(world.online, moment), [wiped]

    def emptied_after(*arguments: Any) -> Any:
        if left[0] and moment == "states":
            _empty(world, left)
        answer = real(*arguments)
        if left[0]:
            _empty(world, left)
        return answer

    monkeypatch.setattr(world.online, moment, emptied_after)
    world.restart()
    world.recover(shard)
    if world.online.watermark(RECORDS, shard.partition) != 3:
        world.recover(shard)
    assert world.online.persons == held


def _empty(world: World, left: list[int]) -> None:
    left[0] -= 1
    world.online.persons.clear()
    world.online.watermarks.clear()


def test_rows_lost_in_a_failover_before_their_watermark_come_again(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise: a replica that has the watermark before and lacks the rows is not told that it has them."""
    world.deliver(world.send(person()))
    before = dict(world.online.persons)
    real = world.online.apply

    def fails_over(*arguments: Any) -> None:
        real(*arguments)
        monkeypatch.setattr(world.online, "apply", real)
        world.online.persons = dict(before)
        world.online.identity = "the replica"

    monkeypatch.setattr(world.online, "apply", fails_over)
    sent = world.send(person(event_timestamp="2024-05-01T11:00:00Z", weight_kg=70))
    world.deliver(sent)
    assert world.online.persons["ann"][1]["weight_kg"] == 70
    assert world.online.watermarks[sent.shard] == sent.offset


def test_the_history_of_another_log_is_refused(world: World, person: Person) -> None:
    """Promise: a topic that was deleted and made anew is not taken for one whose records were all seen before."""
    for _ in range(3):
        world.deliver(world.send(person()))
    world.log.clear()
    world.restart()
    with pytest.raises(HistoryOfAnotherLog, match="the topic does not"):
        world.deliver(world.send(person()))


def test_a_topic_made_anew_is_refused_even_when_it_is_longer_than_its_history(world: World, person: Person) -> None:
    """Promise: Kafka's id of a topic tells it from one of the same name before."""
    world.deliver(world.send(person()))
    world.log.clear()
    world.log_ids[RECORDS] = "the second"
    world.restart()
    sent = [world.send(person()) for _ in range(5)]
    with pytest.raises(HistoryOfAnotherLog, match="the second") as refused:
        world.deliver(*sent)
    assert "habitus backfill" in refused.value.remedy


def test_a_poison_record_becomes_a_dead_letter_and_its_batch_goes_on(
    world: World, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = materialisation.materialise

    def fails_on_bob(located: Any, *arguments: Any) -> Any:
        if any(each.record.person_id == "bob" for each in located):
            raise ZeroDivisionError("bob")
        return real(located, *arguments)

    monkeypatch.setattr(materialisation, "materialise", fails_on_bob)
    neighbours = [name for name in map(str, range(40)) if partition_for(name.encode(), 4) == partition_for(b"bob", 4)]
    sent = [world.send(person(person_id=name)) for name in (*neighbours[:3], "bob", *neighbours[3:6])]
    applied = world.deliver(*sent)
    assert (applied.accepted, applied.rejected) == (6, 1)
    assert world.publisher.buried[-1][1].value == sent[3].value
    assert world.publisher.reasons()[-1]["error_class"] == "poison"
    assert "ZeroDivisionError: bob" in world.publisher.reasons()[-1]["reason"]
    assert {row["person_id"] for row in world.features.rows()} == set(neighbours[:6])
