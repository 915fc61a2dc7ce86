"""A replay notices every message that Kafka did not acknowledge; the client is a fake."""

from collections.abc import Callable
from typing import Any

import pytest
from kafka.errors import InvalidTimestampError, KafkaTimeoutError, MessageSizeTooLargeError

from habitus.data.messages import Message
from habitus.data.replay import _Sending
from runtime.errors import HabitusError, Unavailable

RECORD = Message("record", b"ada", b"{}", 1)


class FakeClient:
    """A producer that takes everything, until told to fail: on sending, later on, or on flushing."""

    def __init__(self, *, on_send: Exception | None = None, on_flush: Exception | None = None) -> None:
        self.on_send, self.on_flush = on_send, on_flush
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.tell: list[Callable[[Exception], None]] = []

    def send(self, topic: str, **message: Any) -> "FakeClient":
        """The client is its own future."""
        if self.on_send:
            raise self.on_send
        self.sent.append((topic, message))
        return self

    def add_errback(self, tell: Callable[[Exception], None]) -> None:
        """Remember whom to tell of a failure."""
        self.tell.append(tell)

    def flush(self, timeout: float) -> None:  # noqa: ARG002  the client names it
        """All is acknowledged, or not in time."""
        if self.on_flush:
            raise self.on_flush


def sending(client: FakeClient) -> _Sending:
    return _Sending(client, {"record": "person.records", "label": "person.labels"})


def test_messages_go_to_the_topic_of_their_kind_and_are_counted():
    client = FakeClient()
    replay = sending(client)
    for kind in ("record", "label", "label"):
        replay.send(RECORD._replace(kind=kind))
    replay.finish()
    assert [topic for topic, _ in client.sent] == ["person.records", "person.labels", "person.labels"]
    assert client.sent[0][1] == {"key": b"ada", "value": b"{}", "timestamp_ms": 1}
    assert replay.sent == {"record": 1, "label": 2}


def test_a_broker_that_went_away_is_unavailable():
    with pytest.raises(Unavailable, match="kafka"):
        sending(FakeClient(on_send=KafkaTimeoutError("no broker"))).send(RECORD)


def test_acknowledgements_that_do_not_come_are_unavailable():
    replay = sending(FakeClient(on_flush=KafkaTimeoutError("60 s")))
    replay.send(RECORD)
    with pytest.raises(Unavailable, match="not acknowledged"):
        replay.finish()


@pytest.mark.parametrize("later", ["send", "finish"])
def test_a_message_that_failed_later_stops_the_replay(later: str):
    client = FakeClient()
    replay = sending(client)
    replay.send(RECORD)
    client.tell[0](InvalidTimestampError())
    with pytest.raises(HabitusError, match="refused a message"):
        replay.send(RECORD) if later == "send" else replay.finish()
    assert len(client.sent) == 1


def test_the_first_failure_is_the_one_that_is_told():
    client = FakeClient()
    replay = sending(client)
    replay.send(RECORD)
    replay.send(RECORD)
    client.tell[0](MessageSizeTooLargeError())
    client.tell[1](KafkaTimeoutError())
    with pytest.raises(HabitusError, match="MessageSizeTooLarge"):
        replay.finish()
