"""The Faust app: three agents that hand batches to the handlers and acknowledge them afterwards.

Place in the flow: the transport around `handlers`. Faust acknowledges what it should not when an agent raises or a value does
not decode; so topics carry raw bytes, a batch is taken without acknowledgement and acknowledged by hand, and an error ends
the process.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust
from aiokafka.consumer import fetcher
from aiokafka.protocol.group import JoinGroupRequest
from faust.exceptions import ConsumerNotStarted
from loguru import logger
from mode import CrashingSupervisor

from runtime.errors import HabitusError
from runtime.kafka import client_options
from runtime.record_batches import tolerate
from runtime.topics import Topics
from streams.handlers import Applied, handle_labels, handle_predictions, handle_records, recover
from streams.messages import Message, Shard
from streams.metrics import Metrics
from streams.settings import StreamsSettings
from streams.shards import Shards
from streams.shelf import HistoryLike, Shelf
from streams.supervision.progress import Progress

Handler = Callable[[Iterable[Message], Shelf, Shards], Applied]
# A killed worker's partitions move after about fourteen seconds; Faust's defaults make the whole group wait for a minute.
SESSION_TIMEOUT_S = 6.0
HEARTBEAT_INTERVAL_S = 2.0
REBALANCE_TIMEOUT_S = 8.0
COMMIT_INTERVAL_S = 1.0
METADATA_MAX_AGE_MS = 30_000  # a topic that is made anew is noticed within this time; aiokafka's default is five minutes
HAND_OVER_WITHIN_S = 5.0
# A worker that is asked to stop has five seconds: these two, and the rest for leaving the group.
FINISH_WITHIN_S = 3.0
COMMIT_WITHIN_S = 0.7
MS_PER_S = 1000


class InstanceTaken(HabitusError):
    """Another live worker goes by the same name in the group."""

    def __init__(self, instance: str) -> None:
        super().__init__(
            f"another worker has joined as {instance!r}: this one is fenced off",
            remedy="give each worker a HABITUS_STREAMS_INSTANCE of its own",
        )


@dataclass(frozen=True)
class Supervision:
    """Who is told what the worker does, and who ends it."""

    progress: Progress
    metrics: Metrics
    is_replaced: Callable[[], bool]  # whether another member of the group bears this worker's name; asks the brokers
    end: Callable[[HabitusError], object]  # ends the process at once, unacknowledged


@dataclass(frozen=True)
class Flow:
    """The app, and the ways of its topics."""

    app: faust.App
    paths: Sequence["_Path"]
    finish_within_s: float = FINISH_WITHIN_S

    async def finish(self) -> None:
        """Take no new batch, let those in hand come to their end, and acknowledge what is done, as far as time allows."""
        for path in self.paths:
            path.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.finish_within_s):
                await asyncio.gather(*(path.finished() for path in self.paths))
        with suppress(TimeoutError, ConsumerNotStarted):
            async with asyncio.timeout(COMMIT_WITHIN_S):
                await self.app.consumer.commit()


def make_app(settings: StreamsSettings, shelf: Shelf, supervision: Supervision) -> Flow:
    """The app with its agents; nothing runs and nothing is connected yet."""
    app = _faust_app(settings)
    topics = Topics(settings)
    records = _Path(app, topics.records.name, handle_records, shelf, shelf.features, supervision=supervision)
    paths = [
        records,
        _Path(app, topics.labels.name, handle_labels, shelf, shelf.labels, supervision=supervision),
        _Path(app, topics.predictions.name, handle_predictions, shelf, shelf.predictions, supervision=supervision),
    ]
    for path in paths:
        _add_agent(app, path, settings)

    was_member = False

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # Faust is untyped
    async def assigned(_: faust.App, assigned: set[Any], **_kwargs: Any) -> None:
        nonlocal was_member
        was_member = True
        shards = {_shard(each) for each in assigned}
        logger.info("assigned: {}", ", ".join(sorted(map(str, shards))))
        supervision.progress.assign(shards)
        for path in paths:
            path.take_over(shards)
        # Not awaited: the group must not wait while a store is caught up. The first batch waits, for the same lock.
        app.add_future(records.recover())

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def revoked(_: faust.App, revoked: set[Any], **_kwargs: Any) -> None:
        shards = {_shard(each) for each in revoked}
        supervision.progress.revoke(shards)
        is_static = settings.streams_instance is not None
        if is_static and was_member and _is_unknown(app) and await asyncio.to_thread(supervision.is_replaced):
            supervision.end(InstanceTaken(str(settings.streams_instance)))
        await asyncio.gather(*(path.hand_over(shards) for path in paths))
        await app.consumer.commit()

    return Flow(app, paths)


def _is_unknown(app: faust.App) -> bool:
    """Whether the brokers have just told this worker that they do not know it (any more).

    aiokafka would join again and so throw out whoever has taken the name, who would do the same, for ever; it tells nobody.
    """
    coordinator = app.consumer._thread._consumer._coordinator  # noqa: SLF001  nothing public tells
    return bool(coordinator.member_id == JoinGroupRequest.UNKNOWN_MEMBER_ID)


class _Path:
    """One topic's way through its handler, a batch at a time, in a thread: the event loop keeps the heartbeats going."""

    def __init__(
        self, app: faust.App, topic: str, handler: Handler, shelf: Shelf, history: HistoryLike, *, supervision: Supervision
    ) -> None:
        self.topic = topic
        self.shards = Shards(history, shelf.source)
        self._app = app
        self._handler = handler
        self._shelf = shelf
        self._progress = supervision.progress
        self._metrics = supervision.metrics
        self._owned: set[Shard] = set()
        self._one_at_a_time = asyncio.Lock()
        self._is_closed = False
        self._is_recovering = False

    async def handle(self, events: Sequence[Any]) -> None:
        """Handle a batch of Faust's events and acknowledge it; if the handler raises, nothing of it is acknowledged."""
        async with self._one_at_a_time:
            current = [each for each in events if self._is_current(each)]
            if current:
                messages = [_message(each.message) for each in current]
                self._log(messages, await asyncio.to_thread(self._work, messages))
        for event in current:
            if self._is_fresh(event):
                event.ack()
                self._progress.handled(_shard(event.message), event.message.offset)

    def take_over(self, shards: Iterable[Shard]) -> None:
        """From now on those of `shards` that are of this topic are handled, whatever another worker did to them before."""
        self._owned = {each for each in shards if each.topic == self.topic}
        self.shards.forget(self._owned)

    async def hand_over(self, shards: set[Shard]) -> None:
        """Handle `shards` no more; returns when the batch in hand is done, so that their next owner finds it in the history.

        Waits HAND_OVER_WITHIN_S at most: the group goes on without us, and of two owners one stops.
        """
        self._owned -= shards
        with suppress(TimeoutError):
            async with asyncio.timeout(HAND_OVER_WITHIN_S), self._one_at_a_time:
                self.shards.forget(shards)

    async def recover(self) -> None:
        """Catch up the online store with the shards that are owned."""
        async with self._one_at_a_time:
            owned = sorted(self._owned, key=str)
            self._is_recovering = True
            try:
                await asyncio.to_thread(self._recover, owned)
            finally:
                self._is_recovering = False

    def close(self) -> None:
        """Handle nothing from now on: what comes is neither handled nor acknowledged."""
        self._is_closed = True

    async def finished(self) -> None:
        """Returns when the batch in hand is done; at once while a store is caught up, which nobody waits to acknowledge."""
        if not self._is_recovering:
            async with self._one_at_a_time:
                pass

    def _work(self, messages: Sequence[Message]) -> Applied:
        started = time.perf_counter()
        with self._progress.working({message.shard for message in messages}):
            applied = self._handler(messages, self._shelf, self.shards)
        self._metrics.handled(self.topic, messages, applied, time.perf_counter() - started)
        return applied

    def _recover(self, owned: Sequence[Shard]) -> None:
        with self._progress.working(owned):
            recover(owned, self._shelf, self.shards)

    def _is_current(self, event: Any) -> bool:
        """Whether the event's shard is still ours and it was delivered since it is: else its successor may come before it."""
        return not self._is_closed and self._is_fresh(event) and _shard(event.message) in self._owned

    def _is_fresh(self, event: Any) -> bool:
        return bool(event.message.generation_id == self._app.consumer_generation_id)

    def _log(self, messages: Sequence[Message], applied: Applied) -> None:
        told = logger.bind(**{name: count for name, count in vars(applied).items() if count})
        level = "WARNING" if applied.rejected else "INFO"
        told.log(level, "handled {} messages of {}, the last {}", len(messages), self.topic, messages[-1])


def _add_agent(app: faust.App, path: _Path, settings: StreamsSettings) -> None:
    topic = app.topic(path.topic, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")

    @app.agent(topic, name=path.topic, concurrency=1, supervisor_strategy=CrashingSupervisor)  # type: ignore[untyped-decorator]
    async def agent(stream: Any) -> None:
        async for events in stream.noack_take(settings.streams_batch, within=settings.streams_linger_s):
            await path.handle(events)


def _faust_app(settings: StreamsSettings) -> faust.App:
    tolerate(fetcher)
    options = {"consumer_group_instance_id": settings.streams_instance} if settings.streams_instance else {}
    return faust.App(
        Topics(settings).streams_group,
        broker=[f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials(settings),
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_INTERVAL_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_commit_interval=COMMIT_INTERVAL_S,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MAX_AGE_MS,
        processing_guarantee="at_least_once",
        store="memory://",
        datadir=str(Path(settings.home) / "streams"),
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=settings.streams_buffer,
        web_enabled=False,
        worker_redirect_stdouts=False,
        **options,
    )


def credentials(settings: StreamsSettings) -> faust.SASLCredentials | faust.SSLCredentials | None:
    """Our Kafka security settings as Faust's."""
    options = client_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=options["sasl_plain_username"],
            password=options["sasl_plain_password"],
            mechanism=options["sasl_mechanism"],
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _shard(place: Any) -> Shard:
    return Shard(place.topic, place.partition)


def _message(message: Any) -> Message:
    headers = message.headers.items() if isinstance(message.headers, dict) else message.headers or ()
    return Message(
        shard=Shard(message.topic, message.partition),
        offset=message.offset,
        timestamp_ms=-1 if message.timestamp is None else round(message.timestamp * MS_PER_S),
        key=message.key,
        value=message.value,
        headers=tuple((name, value or b"") for name, value in headers),
    )
