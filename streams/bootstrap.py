"""The only wiring of the stream worker, and its life: wait for what it needs, run, stop in time."""

import os
import signal
import threading
from functools import partial
from importlib.metadata import version
from typing import NoReturn

import faust
from loguru import logger

from feature_repo.history import History
from feature_repo.online import OnlineWriter, connect
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, PREDICTIONS
from runtime.clock import SystemClock
from runtime.kafka import ensure_topics
from runtime.logs import configure_logs
from runtime.retry import wait_for
from runtime.topics import Topics
from streams.adapters.kafka import KafkaLog, KafkaPublisher
from streams.app import make_app
from streams.persistence import Persistence
from streams.settings import StreamsSettings
from streams.shelf import Shelf

STOP_WITHIN_S = 4.0
CRASHED = 1


def run() -> NoReturn:
    """Run a worker until SIGTERM (exit code 0) or until an effect fails for good (exit code 1)."""
    settings = StreamsSettings()
    configure_logs("streams", settings)
    settings.home.mkdir(parents=True, exist_ok=True)  # Faust makes its (empty) folder below it
    app = make_app(settings, make_shelf(settings))
    _run(app)


def make_shelf(settings: StreamsSettings) -> Shelf:
    """Everything the handlers need, connected; waits, and says so, until Kafka and a Redis that never evicts are there."""
    topics = Topics(settings)
    online = OnlineWriter(connect(settings), settings.project)
    wait_for(lambda: ensure_topics(settings, topics.all()))
    wait_for(online.refuse_eviction)
    read, source = (topics.records, topics.labels, topics.predictions), KafkaLog(settings)
    return Shelf(
        features=History(settings.offline_path, PERSON_FEATURES),
        labels=History(settings.offline_path, PERSON_LABELS),
        predictions=History(settings.offline_path, PREDICTIONS),
        online=online,
        publisher=wait_for(lambda: KafkaPublisher(settings, topics)),
        source=source,
        partitions={topic.name: wait_for(partial(source.partitions, topic.name)) for topic in read},
        clock=SystemClock(),
        app_version=version("habitus"),
        persistence=Persistence(settings.streams_attempts),
    )


def _run(app: faust.App) -> NoReturn:
    worker = _Worker(app, quiet=True, loglevel="WARN", override_logging=False, redirect_stdouts=False)
    worker.spinner = None  # it would draw into the log file
    logger.info("worker starts as a member of the group {}", app.conf.id)
    try:
        worker.execute_from_commandline()
    finally:
        code = 0 if worker.was_asked_to_stop else CRASHED
        logger.info("worker ends with exit code {}", code)
        logger.complete()
        # Not sys.exit: it would wait for the thread of a batch that can no longer be acknowledged.
        os._exit(code)


class _Worker(faust.Worker):  # type: ignore[misc]  # Faust is untyped
    """A Faust worker that cannot hang: from the first signal or crash on it has STOP_WITHIN_S to end. A kill is always safe."""

    was_asked_to_stop = False

    def _schedule_shutdown(self, number: signal.Signals) -> None:
        self.was_asked_to_stop = True
        _end_within(STOP_WITHIN_S, 0)
        super()._schedule_shutdown(number)

    def on_worker_shutdown(self) -> None:
        _end_within(STOP_WITHIN_S, 0 if self.was_asked_to_stop else CRASHED)
        super().on_worker_shutdown()


def _end_within(seconds: float, code: int) -> None:
    timer = threading.Timer(seconds, os._exit, (code,))
    timer.daemon = True
    timer.start()
