"""Dead letters on a real Kafka: a flood of bad messages stops no good one, and what is sent again arrives once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from typer.testing import CliRunner, Result

from feature_repo.schemas import PERSON_FEATURES
from feature_repo.wire import PROTOBUF
from habitus.cli import app
from protos.habitus.v1.person_pb2 import PersonRecord as PersonRecordProto
from runtime.errors import HabitusError, RecordRejected, Violation
from runtime.kafka import consumer, partition_for, producer
from streams.adapters.dead_letters import SourceTopic, read_dead_letters
from streams.adapters.kafka import KafkaPublisher
from streams.letters.dead_letters import Origin, Rejected, dead_letter
from streams.messages import Headers, Message, Shard
from tests.scene import BASE_MS, ROOT, STARTS_WITHIN_S, Scene, person, require_nothing_lost

pytestmark = pytest.mark.timeout(180)


def dlq(scene: Scene, *arguments: str) -> Result:
    done = CliRunner().invoke(app, ["dlq", *arguments], env=scene.environment)
    assert done.exception is None or isinstance(done.exception, SystemExit | HabitusError), done.exception
    return done


def told(scene: Scene, *arguments: str) -> Any:
    """What a command prints with `--json`."""
    return json.loads(dlq(scene, *arguments, "--json").stdout)


def bury(scene: Scene, *messages: Message, error_class: str = "invalid_record") -> None:
    """Publish a dead letter of each message, which need not have been sent."""
    publisher = KafkaPublisher(scene.settings, scene.topics)
    error = RecordRejected(error_class, (Violation("weight_kg", "too low"),))
    now = datetime.now(UTC)
    publisher.dead_letters(messages[0].shard.topic, [dead_letter(Rejected(each, error), "1.0", now) for each in messages])
    publisher.close()


@pytest.fixture
def rejected(scene: Scene) -> Callable[..., Message]:
    """A function that makes a message of a person's record, at a source offset."""

    def make(offset: int, headers: Headers = (), value: bytes | None = None, **fields: Any) -> Message:
        content = json.dumps(person(1, **fields)).encode() if value is None else value
        return Message(Shard(scene.topics.records.name, 0), offset, BASE_MS, b"someone else", content, headers)

    return make


def flood(good: int, bad_for_each: int) -> list[dict[str, Any]]:
    """Good records, after each several bad ones: invalid, undecodable and misrouted in turn."""
    messages: list[dict[str, Any]] = []
    for number in range(good):
        fields = person(number)
        key = fields["person_id"].encode()
        bad = (
            {"key": key, "value": json.dumps(fields | {"Weight": 3}).encode()},
            {"key": key, "value": b"{"},
            {"key": b"someone else", "value": json.dumps(fields).encode()},
        )
        messages += [{"key": key, "value": json.dumps(fields).encode()}, *(bad[each % 3] for each in range(bad_for_each))]
    return messages


def test_a_flood_of_bad_records_stops_no_good_one(scene: Scene) -> None:
    """Promise: of 500 good records among 5,000 bad ones each is accepted, and each bad one is one letter."""
    with producer(scene.settings) as sender:
        for number, message in enumerate(flood(500, 10)):
            sender.send(scene.topics.records.name, timestamp_ms=BASE_MS + number * 1000, **message)
        sender.flush()
    scene.start()
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    require_nothing_lost(scene, published=5_500, dead=5_000)
    listed = told(scene, "ls", "--limit", "3")
    assert listed["total"] == 5_000
    assert listed["by_class"] == {"invalid_record": 2_000, "undecodable": 1_500, "misrouted": 1_500}
    assert listed["by_field"].items() >= {"weight_kg": 2_000, "key": 1_500}.items()
    assert len(listed["dead_letters"]) == 3


def test_what_is_sent_again_is_known_from_now_on_and_keeps_its_time(scene: Scene) -> None:
    """Promise: the row has the first message's time as event time and the replay's as ingestion time; what is rejected again
    counts its attempts.
    """
    began = datetime.now(UTC)
    good = person(1, person_id="ann")
    with producer(scene.settings) as sender:
        for value in (json.dumps(good).encode(), json.dumps(good | {"Weight": 3}).encode(), b"{"):
            sender.send(scene.topics.records.name, key=b"other", value=value, timestamp_ms=BASE_MS)
        sender.send(scene.topics.labels.name, key=b"ann", value=b'{"person_id": "ann"}', timestamp_ms=BASE_MS)
        sender.flush()
    scene.start()
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    assert told(scene, "replay", "--class", "misrouted")["sent"] == 1
    still = dlq(scene, "replay", "--all", "--set", "Weight=62")
    assert (still.exit_code, "value:" in still.stdout) == (1, True)
    assert told(scene, "replay", "--class", "undecodable", "--force")["sent"] == 1
    label = ("--set", "obesity_level=Normal_Weight", "--set", "event_timestamp=2024-05-01T12:00:00Z")
    assert told(scene, "replay", "--all", "--topic", "person.labels", *label)["sent"] == 1
    scene.drain(scene.topics.records.name, scene.topics.labels.name)
    rows = scene.rows(PERSON_FEATURES).to_pylist()
    assert {each["event_timestamp"] for each in rows} == {datetime.fromtimestamp(BASE_MS / 1000, UTC)}
    assert all(each["ingested_at"] >= began for each in rows)
    assert sorted(each["weight_kg"] for each in rows) == [57.0, 62.0]
    again = told(scene, "ls")["dead_letters"][-1]
    assert (again["tries"], again["origin"]["offset"], again["value"]) == (2, told(scene, "show", "2")["source_offset"], "{")
    assert told(scene, "replay", "--class", "misrouted")["already_sent"] == 1


def sent_to(scene: Scene, *, at_least: int = 0) -> int:
    """How many messages were ever sent to person.records; waits until there are `at_least` so many."""
    places = [TopicPartition(scene.topics.records.name, number) for number in range(2)]
    deadline = time.monotonic() + STARTS_WITHIN_S
    with consumer(scene.settings) as reader:
        while (sent := int(sum(reader.end_offsets(places).values()))) < at_least:
            assert time.monotonic() < deadline
    return sent


def test_a_replay_killed_in_the_middle_sends_the_rest_when_it_is_run_again(scene: Scene, rejected: Any) -> None:
    """Promise: after kill -9 and a second run every letter was sent exactly once."""
    count = 1_800
    bury(scene, *(rejected(offset) for offset in range(count)), error_class="misrouted")
    command = [sys.executable, "-m", "habitus", "dlq", "replay", "--all"]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | scene.environment, stdout=subprocess.DEVNULL)
    sent_to(scene, at_least=1)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=5)
    already = sent_to(scene)
    assert 0 < already < count, "it was not killed in the middle"
    assert told(scene, "replay", "--all") | {"messages": []} == {
        "selected": count, "sent": count - already, "already_sent": already, "invalid": 0, "dry_run": False, "messages": [],
        "still_invalid": [],
    }  # fmt: skip
    origins = [Origin.told_by(each.headers) for each in scene.read(scene.topics.records.name)]
    assert Counter(each.offset for each in origins if each) == Counter(range(count))


def test_letters_are_edited_in_a_file_and_sent(scene: Scene, rejected: Any, tmp_path: Path) -> None:
    """Promise: what `show --json` prints is what `replay --from` reads, for JSON, protobuf and broken values alike."""
    protobuf = PersonRecordProto(person_id="bob", gender="Male", age_years=30, height_m=1.8, weight_kg=1).SerializeToString()
    bury(scene, rejected(1, Weight=3), rejected(2, (("content-type", PROTOBUF.encode()),), protobuf), rejected(3, value=b"\xff"))
    shown = [json.loads(line) for line in dlq(scene, "show", "--field", "weight_kg", "--json").stdout.splitlines()]
    assert (shown[1]["fields"]["weight_kg"], shown[2]["value"]) == (1.0, "base64:/w==")
    shown[0]["value"] = shown[0]["value"].replace('"Weight": 3', '"Weight": 63')
    shown[1]["value"] = shown[1]["fields"] | {"weight_kg": 80}
    shown[2]["value"] = person(3, person_id="cid")
    file = tmp_path / "letters.jsonl"
    file.write_text("".join(f"{json.dumps(each)}\n" for each in shown))
    dry = dlq(scene, "replay", "--from", str(file), "--dry-run")
    assert (dry.exit_code, "3 of 3 letters would be sent" in dry.stdout, sent_to(scene)) == (0, True, 0)
    assert told(scene, "replay", "--from", str(file))["sent"] == 3
    values = {each.key: (each.partition, json.loads(each.value)) for each in scene.read(scene.topics.records.name)}
    assert {key: partition_for(key, 2) for key in values} == {key: partition for key, (partition, _) in values.items()}
    assert values[b"bob"][1]["weight_kg"] == 80
    assert values[b"p1"][1]["Weight"] == 63


def test_a_protobuf_letter_is_corrected_as_protobuf(scene: Scene, rejected: Any) -> None:
    value = PersonRecordProto(person_id="bob", gender="Male", age_years=30, height_m=1.8, weight_kg=1).SerializeToString()
    bury(scene, rejected(1, (("content-type", PROTOBUF.encode()),), value))
    assert told(scene, "replay", "0", "--set", "weight_kg=80")["sent"] == 1
    (message,) = scene.read(scene.topics.records.name)
    sent = PersonRecordProto.FromString(message.value)
    assert (sent.weight_kg, sent.event_timestamp.ToMilliseconds()) == (80, BASE_MS)
    assert dict(message.headers)["content-type"] == PROTOBUF.encode()


def test_a_letter_that_was_buried_twice_is_one_letter(scene: Scene, rejected: Any) -> None:
    bury(scene, rejected(7), rejected(8), rejected(7))
    listed = told(scene, "ls")
    assert (listed["total"], [each["copies"] for each in listed["dead_letters"]]) == (2, [2, 1])
    assert (told(scene, "show", "2")["copies"], told(scene, "show", "1")["copies"]) == (2, 1)
    assert told(scene, "replay", "2")["sent"] == 1
    assert told(scene, "replay", "--all") | {"messages": []} == {
        "selected": 2, "sent": 1, "already_sent": 1, "invalid": 0, "dry_run": False, "messages": [], "still_invalid": [],
    }  # fmt: skip
    assert told(scene, "replay", "0", "--again")["sent"] == 1


def test_what_was_sent_again_is_found_though_older_times_lie_around_it(scene: Scene, rejected: Any) -> None:
    """Promise: Kafka's index of times is asked in a way that misses no replay, in whatever order times stand in the topic."""
    bury(scene, rejected(7))
    since = next(read_dead_letters(scene.settings, scene.topics.records.name)).failed
    assert since is not None
    topic = scene.topics.records.name

    def send_old() -> None:
        with producer(scene.settings) as sender:
            for stamp in (BASE_MS, BASE_MS - 10**9, round(since.timestamp() * 1000) - 1):
                sender.send(topic, key=b"p1", value=b"?", timestamp_ms=stamp)
            sender.flush()

    send_old()
    with SourceTopic(scene.settings, topic) as source:
        assert source.sent_since(since) == set()
        assert told(scene, "replay", "--all")["sent"] == 1
        send_old()
        assert source.sent_since(since) == {Origin(topic, 0, 7, 2)}


def test_letters_that_are_not_there_are_an_error_that_tells_what_to_do(scene: Scene) -> None:
    for command in ("show", "replay"):
        done = dlq(scene, command, "7")
        assert done.exit_code == 1
        assert isinstance(done.exception, HabitusError)
        assert done.exception.remedy == "`habitus dlq ls` lists them"
    assert told(scene, "replay", "--all")["selected"] == 0
    assert told(scene, "ls", "--topic", "predictions")["total"] == 0
