"""Publishing returns when the brokers have acknowledged everything, and raises when they have not."""

from typing import Any

import pytest
from kafka.errors import KafkaTimeoutError

from runtime.errors import Unavailable
from runtime.topics import Topics
from streams.adapters.kafka import KafkaPublisher
from streams.letters.dead_letters import DeadLetter
from streams.settings import StreamsSettings
from streams.shelf import Outgoing


class Acknowledgement:
    """What the brokers answer to one message."""

    def __init__(self, *, comes: bool) -> None:
        self.comes = comes
        self.was_awaited = False

    def get(self, timeout: float) -> None:
        assert timeout > 0
        self.was_awaited = True
        if not self.comes:
            raise KafkaTimeoutError


class Producer:
    """Answers for each message in turn, well or not."""

    def __init__(self, *answers: Acknowledgement) -> None:
        self.answers = answers
        self._due = iter(self.answers)

    def send(self, _topic: str, **_message: Any) -> Acknowledgement:
        return next(self._due)

    def flush(self, timeout: float) -> None:
        assert timeout > 0


@pytest.fixture
def publisher() -> KafkaPublisher:
    settings = StreamsSettings()
    made = KafkaPublisher.__new__(KafkaPublisher)  # its constructor connects
    topics = Topics(settings)
    made._features, made._labels = topics.features.name, topics.labels.name
    made._dead_letters = {topics.records_dlq.name: topics.records_dlq}
    return made


SENT = {
    "dead letters": lambda publisher: publisher.dead_letters("person.records", [DeadLetter(b"k", b"v", ())] * 2),
    "labels": lambda publisher: publisher.labels([Outgoing(b"k", b"v")] * 2),
    "features": lambda publisher: publisher.features([Outgoing(b"k", b"v")] * 2),
}


@pytest.mark.parametrize("what", SENT)
def test_every_acknowledgement_is_awaited(publisher: KafkaPublisher, what: str) -> None:
    publisher._producer = Producer(Acknowledgement(comes=True), Acknowledgement(comes=True))
    SENT[what](publisher)
    assert all(each.was_awaited for each in publisher._producer.answers)


@pytest.mark.parametrize("what", SENT)
def test_one_acknowledgement_that_does_not_come_fails_them_all(publisher: KafkaPublisher, what: str) -> None:
    publisher._producer = Producer(Acknowledgement(comes=True), Acknowledgement(comes=False))
    with pytest.raises(Unavailable, match="was not acknowledged"):
        SENT[what](publisher)
