"""The only wiring of the stream worker, and its life: wait for what it needs, run, stop in time."""

import asyncio
import faulthandler
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from typing import NoReturn

import faust
from loguru import logger

from feature_repo.offline.history import open_history
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, PREDICTIONS
from runtime.clock import SystemClock
from runtime.errors import HabitusError
from runtime.kafka import ensure_topics
from runtime.logs import configure_logs
from runtime.metrics import new_registry, serve
from runtime.retry import wait_for
from runtime.topics import Topics
from streams.adapters.group import ConsumerGroup
from streams.adapters.kafka import KafkaLog, KafkaPublisher
from streams.adapters.redis import refuse_evicting_servers
from streams.app import Flow, Supervision, make_app
from streams.messages import Shard
from streams.metrics import Counted, Metrics
from streams.persistence import Attempt, Persistence
from streams.settings import StreamsSettings
from streams.shelf import Shelf
from streams.supervision.crash_loops import Life, got_somewhere
from streams.supervision.progress import Progress, Watched
from streams.supervision.watchdog import Stall, Standing, Watchdog, watch

STOP_WITHIN_S = 4.5
CRASHED = 1
_LONGEST_LOOK_S = 2.0  # how often the watchdog looks, at most; a tenth of its limit where that is less


def run() -> NoReturn:
    """Run a worker until SIGTERM (exit code 0) or until it cannot go on (exit code 1), then it may be started again at once."""
    settings = StreamsSettings()
    configure_logs("streams", settings)
    signal.signal(signal.SIGTERM, _leave)  # until Faust has its own; a container's first process has none by default
    app_version, stopping = version("habitus"), threading.Event()
    registry = new_registry("streams", app_version)
    metrics = Metrics(registry)
    serve(registry, settings.streams_metrics_host, settings.streams_metrics_port, "HABITUS_STREAMS_METRICS_PORT")

    life = Life(settings.home / "streams", settings.streams_instance or "worker")
    _pause_after_crashes(life, settings, metrics)
    progress = Progress(long_s=settings.streams_stall_s / 2)
    group = ConsumerGroup(settings, Topics(settings).streams_group)
    shelf = supervised(make_shelf(settings), settings, progress, metrics, stopping)
    supervision = Supervision(
        progress=progress,
        metrics=metrics,
        is_replaced=lambda: group.has_member(str(settings.streams_instance)),
        end=_end_crashed,
    )
    flow = make_app(settings, shelf, supervision)
    life.begin()
    _watch(settings, progress, group, metrics, life)
    _run(flow, life, stopping)


def supervised(shelf: Shelf, settings: StreamsSettings, progress: Progress, metrics: Metrics, stopping: threading.Event) -> Shelf:
    """`shelf`, whose effects tell `progress` and `metrics`, and pause between tries no longer than until `stopping`."""

    def told(attempt: Attempt) -> None:
        progress.beat()
        metrics.tried(attempt)

    return replace(
        shelf,
        online=Watched(shelf.online, progress),
        publisher=Counted(shelf.publisher, metrics),
        persistence=Persistence(settings.streams_attempts, stopping.wait, told),
    )


def make_shelf(settings: StreamsSettings) -> Shelf:
    """Everything the handlers need, connected; waits, and says so, until Kafka and a Redis that never evicts are there."""
    topics = Topics(settings)
    online = OnlineWriter(refuse_evicting_servers(connect(settings)), settings.project)
    wait_for(lambda: ensure_topics(settings, topics.all()))
    wait_for(online.refuse_eviction)
    read, source = (topics.records, topics.labels, topics.predictions), KafkaLog(settings)
    return Shelf(
        features=open_history(settings, PERSON_FEATURES),
        labels=open_history(settings, PERSON_LABELS),
        predictions=open_history(settings, PREDICTIONS),
        online=online,
        publisher=wait_for(lambda: KafkaPublisher(settings, topics)),
        source=source,
        partitions={topic.name: wait_for(partial(source.partitions, topic.name)) for topic in read},
        clock=SystemClock(),
        app_version=version("habitus"),
        persistence=Persistence(settings.streams_attempts),
    )


def _pause_after_crashes(life: Life, settings: StreamsSettings, metrics: Metrics) -> None:
    pause_s = life.pause_s(settings.streams_longest_pause_s)
    metrics.failures.set(life.failures)
    metrics.pause_seconds.set(pause_s)
    if pause_s:
        logger.bind(failures=life.failures, pause_s=pause_s).warning(
            "this worker ended {} times in a row before it had acknowledged anything; it waits for {} s", life.failures, pause_s
        )
        time.sleep(pause_s)


def _watch(settings: StreamsSettings, progress: Progress, group: ConsumerGroup, metrics: Metrics, life: Life) -> None:
    def told(standings: Mapping[Shard, Standing]) -> None:
        metrics.stands(standings)
        if got_somewhere(standings, progress, Topics(settings)):
            life.acknowledged()

    limit_s = settings.streams_stall_s
    watch(Watchdog(progress, group, limit_s, told=told), min(limit_s / 10, _LONGEST_LOOK_S), _end_stalled)


def _run(flow: Flow, life: Life, stopping: threading.Event) -> NoReturn:
    worker = _Worker(flow.app, quiet=True, loglevel="WARN", override_logging=False, redirect_stdouts=False)
    worker.spinner = None  # it would draw into the log file
    worker.flow, worker.life, worker.stopping = flow, life, stopping
    logger.info("worker starts as a member of the group {}", flow.app.conf.id)
    try:
        worker.execute_from_commandline()
    finally:
        # Not sys.exit: it would wait for the thread of a batch that can no longer be acknowledged.
        _end(0 if worker.was_asked_to_stop else CRASHED)


class _Worker(faust.Worker):  # type: ignore[misc]  # Faust is untyped
    """A Faust worker that cannot hang: from the first signal or crash on it has STOP_WITHIN_S to end. A kill is always safe."""

    flow: Flow
    life: Life
    stopping: threading.Event
    was_asked_to_stop = False

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        if self.was_asked_to_stop:
            return  # it ends in time anyway, and better with what it has in hand acknowledged
        self.was_asked_to_stop = True
        logger.info("asked to stop by {}", number.name)
        self.stopping.set()
        self.life.stopped()
        _end_within(STOP_WITHIN_S, 0)
        self.finishing = asyncio.ensure_future(self._finish(number), loop=self.loop)

    async def _finish(self, number: signal.Signals) -> None:
        await self.flow.finish()
        super()._schedule_shutdown(number)

    def on_worker_shutdown(self) -> None:
        _end_within(STOP_WITHIN_S, 0 if self.was_asked_to_stop else CRASHED)
        super().on_worker_shutdown()


def _leave(_number: int, _frame: object) -> NoReturn:
    """End before any work has begun: there is nothing in hand, and nothing to wait for."""
    os._exit(0)


def _end_stalled(stall: Stall) -> NoReturn:
    logger.error("{}; the worker ends, to be started again. What its threads do:", stall)
    faulthandler.dump_traceback(all_threads=True)
    _end(CRASHED)


def _end_crashed(error: HabitusError) -> NoReturn:
    logger.error("{}: {}", error, error.remedy)
    _end(CRASHED)


def _end(code: int) -> NoReturn:
    logger.info("worker ends with exit code {}", code)
    logger.complete()
    os._exit(code)


def _end_within(seconds: float, code: int) -> None:
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
