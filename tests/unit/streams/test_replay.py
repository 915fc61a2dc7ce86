"""Letters are sent again where the stream accepts them, once, with what tells where they came from; the others are named."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from feature_repo.person import parse_record
from runtime.clock import FixedClock
from runtime.errors import HabitusError, RecordRejected, Unavailable, Violation
from runtime.kafka import partition_for
from streams.letters.corrections import Edit, Given
from streams.letters.dead_letters import DeadLetter, DeadLetterRead, Origin, Rejected, dead_letter
from streams.letters.replay import AT_ONCE, LABELS, PREDICTIONS, RECORDS, Orders, Outcome, Replay, Rules, Summary
from streams.letters.selection import Selection
from streams.messages import Message, Shard
from streams.validation import read_record, sort_out

FAILED_AT = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SENT_MS = 1_714_564_800_000
PARTITIONS = 4
EVERY, PLAIN = Selection(), Orders()


@dataclass
class MemoryTopic:
    """A source topic with its dead letters, and a stream that rejects what `read_record` rejects."""

    name: str = "person.records"
    partitions: int = PARTITIONS
    log: list[Message] = field(default_factory=list)
    buried: list[DeadLetter] = field(default_factory=list)
    looked_since: list[datetime] = field(default_factory=list)
    send_at_most: int | None = None

    def sent_since(self, since: datetime) -> set[Origin]:
        """As Kafka's index of times: from the first message stamped at or after `since` on."""
        self.looked_since.append(since)
        late = (number for number, each in enumerate(self.log) if each.timestamp_ms >= since.timestamp() * 1000)
        return {origin for each in self.log[next(late, len(self.log)) :] if (origin := Origin.told_by(each.headers))}

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            if self.send_at_most == 0:
                raise Unavailable("kafka", "it went away")
            self.send_at_most = None if self.send_at_most is None else self.send_at_most - 1
            self.log.append(replace(message, offset=len(self.log)))

    def letters(self) -> Iterator[DeadLetterRead]:
        return (DeadLetterRead.of(number, each.key, each.value, each.headers) for number, each in enumerate(list(self.buried)))

    def bury(self, message: Message, *fields: str, error_class: str = "invalid_record", failed_at: datetime = FAILED_AT) -> None:
        error = RecordRejected(error_class, tuple(Violation(name, "is bad") for name in fields or ("weight_kg",)))
        self.buried.append(dead_letter(Rejected(message, error), "1.0", failed_at))

    def consume(self, first: int = 0) -> int:
        """As the stream: bury what is rejected from offset `first` on; returns how many were accepted."""
        seen = sort_out(self.log[first:], lambda message: read_record(message, self.partitions))
        self.buried += [dead_letter(each, "1.0", FAILED_AT) for each in seen.rejected]
        return len(seen.accepted)


def replayed(
    topic: MemoryTopic, orders: Orders = PLAIN, selection: Selection = EVERY, rules: Rules = RECORDS
) -> tuple[Summary, list[Outcome]]:
    told: list[Outcome] = []
    summary = Replay(topic, topic.letters, rules, FixedClock(NOW)).run(selection, orders, told.append)
    return summary, told


@pytest.fixture
def topic() -> MemoryTopic:
    return MemoryTopic()


@pytest.fixture
def record(person: Callable[..., dict[str, Any]]) -> Callable[..., Message]:
    """A message of a record; keywords override its fields or, if they are of a message, that."""

    def make(offset: int = 41, value: object = None, headers: Any = (), partition: int = 0, **fields: Any) -> Message:
        content = json.dumps(person(**fields)).encode() if value is None else value
        assert isinstance(content, bytes)
        return Message(Shard("person.records", partition), offset, SENT_MS, b"someone", content, headers)

    return make


def told_by(message: Message) -> dict[str, str]:
    return {name: value.decode() for name, value in message.headers}


def test_a_misrouted_letter_goes_to_its_persons_partition_without_change(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(), error_class="misrouted")
    assert replayed(topic)[0] == Summary(selected=1, sent=1)
    (sent,) = topic.log
    assert (sent.key, sent.shard.partition) == (b"ann", partition_for(b"ann", PARTITIONS))
    assert sent.value == record().value
    assert topic.consume() == 1


def test_a_replayed_record_tells_where_it_came_from_and_keeps_its_headers(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(partition=3, headers=(("trace", b"1"), ("content-type", b"application/json"))))
    replayed(topic)
    assert told_by(topic.log[0]) == {
        "trace": "1",
        "content-type": "application/json",
        "origin_topic": "person.records",
        "origin_partition": "3",
        "origin_offset": "41",
        "origin_timestamp_ms": str(SENT_MS),
        "origin_letter": "0",
        "attempt": "2",
    }
    assert topic.log[0].time == NOW


def test_rejected_again_it_carries_its_first_source_and_one_more_attempt(topic: MemoryTopic, record: Any) -> None:
    """Promise: through two more rejections the first source and the first time stay, only the attempts count up."""
    topic.bury(record(weight_kg=1, event_timestamp=..., headers=(("trace", b"1"),)))
    for attempt in (2, 3):
        first = len(topic.log)
        assert replayed(topic, Orders(force=True), Selection(numbers=frozenset({attempt - 2})))[0].sent == 1
        topic.consume(first)
        letter = list(topic.letters())[-1]
        assert letter.origin == Origin("person.records", 0, 41, attempt)
        assert (letter.origin_timestamp_ms, dict(letter.headers)["trace"]) == (SENT_MS, b"1")
        assert [name for name, _ in letter.headers].count("attempt") == 1
        assert json.loads(letter.value or b"")["event_timestamp"] == "2024-05-01T12:00:00.000+00:00"


def test_what_is_still_invalid_is_named_and_the_good_ones_go(topic: MemoryTopic, record: Any) -> None:
    for offset, weight in enumerate((1, 61, 2)):
        topic.bury(record(offset, weight_kg=weight))
    summary, told = replayed(topic)
    assert summary == Summary(selected=3, sent=1, invalid=2)
    assert [each.error.failed_fields for each in told if each.error] == [("weight_kg",), ("weight_kg",)]
    assert [told_by(each)["origin_offset"] for each in topic.log] == ["1"]


def test_a_correction_is_validated_as_the_stream_validates(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(weight_kg=1))
    assert replayed(topic, Orders(Edit(assigned=(("weight_kg", 900),))))[0] == Summary(1, 0, 0, 1)
    assert replayed(topic, Orders(Edit(assigned=(("event_timestamp", "2099-01-01T00:00:00Z"), ("weight_kg", 61)))))[0].invalid
    assert replayed(topic, Orders(Edit(assigned=(("weight_kg", 61),))))[0] == Summary(1, 1)
    assert topic.consume() == 1


def test_a_corrected_person_moves_to_her_own_partition(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(person_id="no one"))
    replayed(topic, Orders(Edit(assigned=(("person_id", "bob"),))))
    assert (topic.log[0].key, topic.log[0].shard.partition) == (b"bob", partition_for(b"bob", PARTITIONS))


def test_a_dry_run_sends_nothing_and_tells_what_it_would(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record())
    summary, (told,) = replayed(topic, Orders(dry_run=True))
    assert (summary.sent, topic.log) == (1, [])
    assert told.message is not None
    assert told.message.key == b"ann"


def test_what_was_replayed_before_is_left_out_unless_asked_for(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record())
    replayed(topic)
    assert replayed(topic)[0] == Summary(selected=1, already_sent=1)
    assert len(topic.log) == 1
    assert topic.looked_since[-1] <= FAILED_AT - timedelta(minutes=5)
    assert replayed(topic, Orders(again=True))[0].sent == 1


def test_copies_of_a_letter_are_sent_once_whichever_is_named(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record())
    topic.bury(record())
    assert replayed(topic, selection=Selection(numbers=frozenset({0, 1})))[0] == Summary(1, 1)
    assert replayed(topic, selection=Selection(numbers=frozenset({1})))[0] == Summary(1, already_sent=1)


def test_a_replay_that_was_cut_off_sends_the_rest(topic: MemoryTopic, record: Any) -> None:
    count = AT_ONCE + 20
    for offset in range(count):
        topic.bury(record(offset))
    topic.send_at_most = AT_ONCE + 7
    with pytest.raises(Unavailable):
        replayed(topic)
    topic.send_at_most = None
    assert replayed(topic)[0] == Summary(count, 13, AT_ONCE + 7)
    assert sorted(int(told_by(each)["origin_offset"]) for each in topic.log) == list(range(count))


def test_letters_that_come_while_it_runs_do_not_belong_to_it(topic: MemoryTopic, record: Any) -> None:
    """Promise: a forced replay of what is rejected again at once comes to an end."""
    topic.bury(record(weight_kg=1))
    reads = 0

    def letters() -> Iterator[DeadLetterRead]:
        nonlocal reads
        reads += 1
        if reads == 2:
            topic.bury(record(42))
        return topic.letters()

    assert Replay(topic, letters, RECORDS, FixedClock(NOW)).run(EVERY, Orders(force=True), lambda _: None) == Summary(1, 1)


def test_what_cannot_be_decoded_goes_only_by_force_or_with_a_value_given(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(value=b"{"), "value", error_class="undecodable")
    assert replayed(topic, Orders(Edit(assigned=(("weight_kg", 61),))))[0] == Summary(1, invalid=1)
    assert replayed(topic, Orders(force=True, dry_run=True))[0].sent == 1
    assert replayed(topic, Orders(given={0: Given(record().value, is_text=True)}))[0].sent == 1
    assert topic.consume() == 1


def test_a_value_that_was_cut_is_never_sent(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(value=b"x" * 90_000))
    topic.buried[0] = topic.buried[0].cut_to(50_000)
    summary, (told,) = replayed(topic, Orders(force=True))
    assert (summary.invalid, topic.log) == (1, [])
    assert "--from" in str(told.error and told.error.reason)


def test_a_foreign_message_among_the_letters_is_never_sent(topic: MemoryTopic) -> None:
    topic.buried.append(DeadLetter(b"k", b"{}", ()))
    assert replayed(topic, Orders(force=True))[0] == Summary(1, invalid=1)


def test_a_letter_that_is_not_there_stops_everything(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record())
    with pytest.raises(HabitusError, match="has no dead letter 7"):
        replayed(topic, selection=Selection(numbers=frozenset({0, 7})))
    assert topic.log == []


def test_labels_are_replayed_by_their_own_rules() -> None:
    topic = MemoryTopic("person.labels")
    fields = {"person_id": "ann", "event_timestamp": "2024-05-01T10:00:00Z", "obesity_level": "Normal"}
    topic.bury(Message(Shard("person.labels", 1), 5, SENT_MS, b"ann", json.dumps(fields).encode()), "obesity_level")
    assert replayed(topic, rules=LABELS)[0].invalid == 1
    right = Orders(Edit(assigned=(("obesity_level", "Normal_Weight"),)))
    assert replayed(topic, right, rules=LABELS)[0].sent == 1
    assert topic.log[0].shard.partition == partition_for(b"ann", PARTITIONS)


def test_a_label_never_gets_a_time_that_it_did_not_tell() -> None:
    topic = MemoryTopic("person.labels")
    topic.bury(Message(Shard("person.labels", 1), 5, SENT_MS, b"ann", b'{"person_id": "ann", "obesity_level": "Normal_Weight"}'))
    _, (told,) = replayed(topic, rules=LABELS)
    assert told.error is not None
    assert told.error.failed_fields == ("event_timestamp",)


def test_predictions_keep_their_key(prediction: dict[str, Any]) -> None:
    topic = MemoryTopic("predictions")
    bad = prediction | {"served_at": None, "person_id": ""}
    topic.bury(Message(Shard("predictions", 1), 5, SENT_MS, b"r1", json.dumps(bad).encode()), "served_at")
    assert replayed(topic, rules=PREDICTIONS)[0].invalid == 1
    right = Orders(Edit(assigned=(("served_at", "2024-05-01T11:00:00Z"),)))
    assert replayed(topic, right, rules=PREDICTIONS)[0].sent == 1
    assert topic.log[0].key == b"r1"


def test_a_letter_that_the_code_failed_on_can_go_once_the_code_takes_it(topic: MemoryTopic, record: Any) -> None:
    topic.bury(record(), "record", error_class="poison")
    assert replayed(topic, selection=Selection(error_class="poison"))[0].sent == 1
    assert parse_record(json.loads(topic.log[0].value or b"")).record.person_id == "ann"


@pytest.mark.parametrize("first_letter", ["kept", "expired"])
def test_a_record_buried_once_more_after_its_replay_is_not_sent_again(topic: MemoryTopic, record: Any, first_letter: str) -> None:
    """Promise: a history made good months later buries what it rejects anew; what was replayed then stays replayed once."""
    topic.bury(record(), error_class="misrouted")
    replayed(topic)
    if first_letter == "expired":
        topic.buried.clear()
    topic.bury(record(), error_class="misrouted", failed_at=NOW + timedelta(days=60))
    later = NOW + timedelta(days=61)
    told: list[Outcome] = []
    summary = Replay(topic, topic.letters, RECORDS, FixedClock(later)).run(EVERY, PLAIN, told.append)
    assert (summary.sent, len(topic.log)) == (0, 1)


def test_letters_are_not_held_open_after_a_replay_that_needed_only_some(topic: MemoryTopic, record: Any) -> None:
    """Promise: the connection that letters are read from is closed at once, not when the process ends."""
    for offset in range(3):
        topic.bury(record(offset), error_class="misrouted")
    closed: list[bool] = []

    def letters() -> Any:
        try:
            yield from topic.letters()
        finally:
            closed.append(True)

    selection = Selection(numbers=frozenset({0}))
    Replay(topic, letters, RECORDS, FixedClock(NOW)).run(selection, PLAIN, lambda _: None)
    assert closed == [True, True]
