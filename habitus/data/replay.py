"""Publish rows to Kafka as person records and delayed labels, each message with the time of its event.

Place in the flow: the first step of everything; `habitus replay` and the demo call `replay`.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import pandas as pd
from kafka import KafkaProducer
from kafka.errors import KafkaError

from habitus.data.messages import Kind, Message, Plan, ReplayOptions
from runtime.clock import Clock, SystemClock
from runtime.errors import HabitusError, Unavailable
from runtime.kafka import ensure_topics, producer
from runtime.settings import Settings
from runtime.topics import Topics

SEND_TIMEOUT_MS = 15_000  # how long one message may wait for a broker that went away
ACK_TIMEOUT_S = 60.0  # how long the last messages may wait for their acknowledgements
CLOSE_TIMEOUT_S = 5.0  # all is acknowledged by then, or the replay has failed anyway
_PROGRESS_EVERY = 200
_SHORTEST_SLEEP_S = 0.005

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReplaySummary:
    """What a replay published; every message was acknowledged. Times are those of the messages, None if there was none."""

    records: int
    labels: int
    persons: int
    first_time: datetime | None
    last_time: datetime | None
    seconds: float


def replay(
    settings: Settings,
    rows: pd.DataFrame,
    options: ReplayOptions,
    *,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> ReplaySummary:
    """Publish `rows` to `person.records` and their levels to `person.labels`; returns when Kafka acknowledged all of it.

    Creates the two topics if they are not there. `progress` is told (sent, total) now and then. Raises `Unavailable` if
    Kafka is not there or goes away, `UnreadableFile` for a row that cannot become a message, `HabitusError` if Kafka refuses one;
    what was sent until then stays sent, and the same call again sends the same bytes.
    """
    started = time.monotonic()
    plan = Plan(rows, options, now=(clock or SystemClock()).now())
    topics = Topics(settings)
    ensure_topics(settings, [topics.records, topics.labels])
    client = producer(settings, max_block_ms=SEND_TIMEOUT_MS)
    sending = _Sending(client, {"record": topics.records.name, "label": topics.labels.name})
    try:
        for number, message in enumerate(_paced(plan, options.rate_per_s), start=1):
            sending.send(message)
            if progress and number % _PROGRESS_EVERY == 0:
                progress(number, len(plan))
        sending.finish()
    finally:
        client.close(timeout=CLOSE_TIMEOUT_S)
    if progress:
        progress(len(plan), len(plan))
    first, last = plan.span
    return ReplaySummary(
        records=sending.sent["record"],
        labels=sending.sent["label"],
        persons=plan.persons,
        first_time=first,
        last_time=last,
        seconds=round(time.monotonic() - started, 3),
    )


class _Sending:
    """Sends messages and remembers what became of them. The callbacks run in the client's own thread."""

    def __init__(self, client: KafkaProducer, topics: dict[Kind, str]) -> None:
        self._client = client
        self._topics = MappingProxyType(topics)
        self.sent: dict[Kind, int] = {"record": 0, "label": 0}
        self.failure: BaseException | None = None

    def send(self, message: Message) -> None:
        """Hand one message to the client. Raises what befell an earlier one, as soon as it is known."""
        self._raise_failure()
        try:
            future = self._client.send(
                self._topics[message.kind], key=message.key, value=message.value, timestamp_ms=message.timestamp_ms
            )
        except KafkaError as error:
            self._failed(error)
            self._raise_failure()
        else:
            future.add_errback(self._failed)
            self.sent[message.kind] += 1

    def finish(self) -> None:
        """Wait for every acknowledgement. Raises if one did not come."""
        try:
            self._client.flush(timeout=ACK_TIMEOUT_S)
        except KafkaError as error:
            self._failed(error)
        self._raise_failure()

    def _failed(self, error: BaseException) -> None:
        self.failure = self.failure or error

    def _raise_failure(self) -> None:
        if self.failure is None:
            return
        if isinstance(self.failure, KafkaError) and self.failure.retriable:
            raise Unavailable("kafka", f"messages were not acknowledged ({self.failure})") from self.failure
        raise HabitusError(
            f"Kafka refused a message: {self.failure!r}", remedy="see the broker's log and the limits of the topic"
        ) from self.failure


def _paced(messages: Iterable[Message], rate_per_s: float | None) -> Iterator[Message]:
    """`messages`, no faster than `rate_per_s`."""
    started = time.monotonic()
    for number, message in enumerate(messages):
        if rate_per_s is not None:
            ahead_s = started + number / rate_per_s - time.monotonic()
            if ahead_s > _SHORTEST_SLEEP_S:
                time.sleep(ahead_s)
        yield message
