"""`habitus dlq` and `habitus verify` on a real Kafka and Redis, and the parts of the stream that only speak to Kafka."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from habitus.cli import app
from runtime.errors import RecordRejected, Unavailable, Violation
from runtime.kafka import ensure_topics, producer
from runtime.topics import Topics
from streams.adapters.kafka import KafkaLog, KafkaPublisher
from streams.letters.dead_letters import Rejected, dead_letter
from streams.messages import Message, Shard
from streams.settings import StreamsSettings

run = CliRunner()


@pytest.fixture
def settings(kafka_bootstrap: str, redis_url: str, settings_for: Callable[..., StreamsSettings]) -> StreamsSettings:
    made = settings_for(StreamsSettings, partitions=2)
    ensure_topics(made, Topics(made).all())
    return made


@pytest.fixture
def environment(settings: StreamsSettings) -> dict[str, str]:
    """The settings as a shell would have them."""
    names = ("kafka_bootstrap", "topic_prefix", "project", "home", "offline_uri")
    plain = {f"HABITUS_{name.upper()}": str(getattr(settings, name)) for name in names}
    return plain | {"HABITUS_REDIS_URL": settings.redis_url.get_secret_value()}


def bury(settings: StreamsSettings, *values: bytes | None) -> None:
    """Publish a dead letter of each value."""
    topics = Topics(settings)
    publisher = KafkaPublisher(settings, topics)
    error = RecordRejected("invalid_record", (Violation("age_years", "too high"),))
    shard = Shard(topics.records.name, 1)
    rejected = [Rejected(Message(shard, 40 + n, 0, b"ann", value), error) for n, value in enumerate(values)]
    publisher.dead_letters(topics.records.name, [dead_letter(each, "1.0", datetime.now(UTC)) for each in rejected])
    publisher.close()


def test_dead_letters_are_listed_and_shown(settings: StreamsSettings, environment: dict[str, str]) -> None:
    bury(settings, b'{"Age": 300}', b"\xff")
    listed = json.loads(run.invoke(app, ["dlq", "ls", "--json"], env=environment).stdout)
    assert (listed["total"], listed["by_class"]) == (2, {"invalid_record": 2})
    assert [each["source_offset"] for each in listed["dead_letters"]] == [40, 41]
    shown = json.loads(run.invoke(app, ["dlq", "show", "1", "--json"], env=environment).stdout)
    assert (shown["key"], shown["value"], shown["failed_fields"]) == ("ann", "base64:/w==", ["age_years"])
    assert shown["reason"] == "age_years: too high"
    text = run.invoke(app, ["dlq", "ls"], env=environment)
    assert (text.exit_code, "2 dead letters of person.records" in text.stdout) == (0, True)


def test_the_newest_letters_are_listed_when_there_are_many(settings: StreamsSettings, environment: dict[str, str]) -> None:
    bury(settings, *(b"?" for _ in range(5)))
    listed = json.loads(run.invoke(app, ["dlq", "ls", "--limit", "2", "--json"], env=environment).stdout)
    assert (listed["total"], [each["letter"] for each in listed["dead_letters"]]) == (5, [3, 4])


def test_topics_without_dead_letters_and_letters_that_are_not_there(environment: dict[str, str]) -> None:
    assert json.loads(run.invoke(app, ["dlq", "ls", "--topic", "predictions", "--json"], env=environment).stdout)["total"] == 0
    absent = run.invoke(app, ["dlq", "show", "7"], env=environment)
    assert (absent.exit_code, "no dead letter 7" in str(absent.exception)) == (1, True)


def test_verify_of_an_empty_system_holds(environment: dict[str, str]) -> None:
    done = run.invoke(app, ["verify", "--all", "--json"], env=environment)
    assert done.exit_code == 0
    assert json.loads(done.stdout).items() >= {"checked": 0, "mismatched": 0, "missing": 0, "extra": 0}.items()


def test_the_log_is_read_between_two_offsets(settings: StreamsSettings) -> None:
    topic = Topics(settings).records.name
    log = KafkaLog(settings)
    with producer(settings) as sender:
        for _ in range(3):
            sender.send(topic, value=b"?", partition=1)
        sender.flush()
    found = [message.offset for part in log.read(Shard(topic, 1), 1, 3) for message in part]
    assert (found, list(log.read(Shard(topic, 0), 0, 0))) == ([1, 2], [])
    assert log.log_id(topic) == log.log_id(topic) != log.log_id(Topics(settings).labels.name)
    assert log.partitions(topic) == 2
    with pytest.raises(Unavailable, match="is not there yet"):
        log.partitions(f"{topic}.other")
    with pytest.raises(Unavailable, match="is not there yet"):
        log.log_id(f"{topic}.other")
