"""The Faust app: three agents that hand batches to the handlers and acknowledge them afterwards.

Place in the flow: the transport around `handlers`. Faust acknowledges what it should not when an agent raises or a value does
not decode; so topics carry raw bytes, a batch is taken without acknowledgement and acknowledged by hand, and an error ends
the process.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import faust
from loguru import logger
from mode import CrashingSupervisor

from runtime.kafka import client_options
from runtime.topics import Topics
from streams.handlers import Applied, handle_labels, handle_predictions, handle_records, recover
from streams.messages import Message, Shard
from streams.settings import StreamsSettings
from streams.shards import Shards
from streams.shelf import Shelf

Handler = Callable[[Iterable[Message], Shelf, Shards], Applied]
# A killed worker's partitions move after about fourteen seconds; Faust's defaults make the whole group wait for a minute.
SESSION_TIMEOUT_S = 6.0
HEARTBEAT_INTERVAL_S = 2.0
REBALANCE_TIMEOUT_S = 8.0
COMMIT_INTERVAL_S = 1.0
HAND_OVER_WITHIN_S = 5.0
MS_PER_S = 1000


def make_app(settings: StreamsSettings, shelf: Shelf) -> faust.App:
    """The app with its agents; nothing runs and nothing is connected yet."""
    app = _faust_app(settings)
    topics = Topics(settings)
    records = _Path(app, topics.records.name, handle_records, shelf, Shards(shelf.features, shelf.source))
    paths = [
        records,
        _Path(app, topics.labels.name, handle_labels, shelf, Shards(shelf.labels, shelf.source)),
        _Path(app, topics.predictions.name, handle_predictions, shelf, Shards(shelf.predictions, shelf.source)),
    ]
    for path in paths:
        _add_agent(app, path, settings)

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]  # Faust is untyped
    async def assigned(_: faust.App, assigned: set[Any], **_kwargs: Any) -> None:
        shards = {_shard(each) for each in assigned}
        logger.info("assigned: {}", ", ".join(sorted(map(str, shards))))
        for path in paths:
            path.take_over(shards)
        # Not awaited: the group must not wait while a store is caught up. The first batch waits, for the same lock.
        app.add_future(records.recover())

    @app.on_partitions_revoked.connect  # type: ignore[untyped-decorator]
    async def revoked(_: faust.App, revoked: set[Any], **_kwargs: Any) -> None:
        shards = {_shard(each) for each in revoked}
        await asyncio.gather(*(path.hand_over(shards) for path in paths))
        await app.consumer.commit()

    return app


class _Path:
    """One topic's way through its handler, a batch at a time, in a thread: the event loop keeps the heartbeats going."""

    def __init__(self, app: faust.App, topic: str, handler: Handler, shelf: Shelf, shards: Shards) -> None:
        self.topic = topic
        self.shards = shards
        self._app = app
        self._handler = handler
        self._shelf = shelf
        self._owned: set[Shard] = set()
        self._one_at_a_time = asyncio.Lock()

    async def handle(self, events: Sequence[Any]) -> None:
        """Handle a batch of Faust's events and acknowledge it; if the handler raises, nothing of it is acknowledged."""
        async with self._one_at_a_time:
            current = [each for each in events if self._is_current(each)]
            if current:
                messages = [_message(each.message) for each in current]
                self._log(messages, await asyncio.to_thread(self._handler, messages, self._shelf, self.shards))
        for event in current:
            if self._is_fresh(event):
                event.ack()

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
            await asyncio.to_thread(recover, sorted(self._owned, key=str), self._shelf, self.shards)

    def _is_current(self, event: Any) -> bool:
        """Whether the event's shard is still ours and it was delivered since it is: else its successor may come before it."""
        return self._is_fresh(event) and Shard(event.message.topic, event.message.partition) in self._owned

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
    options = {"consumer_group_instance_id": settings.streams_instance} if settings.streams_instance else {}
    return faust.App(
        f"{settings.topic_prefix}streams",
        broker=[f"kafka://{address}" for address in settings.kafka_bootstrap.split(",")],
        broker_credentials=credentials(settings),
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=HEARTBEAT_INTERVAL_S,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_commit_interval=COMMIT_INTERVAL_S,
        consumer_auto_offset_reset="earliest",
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
    """Our Kafka security settings as Faust's. Raises `InvalidSetting` if the user or the password is missing."""
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
