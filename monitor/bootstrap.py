"""The only wiring of the monitor: adapters are made and joined here, and the service runs until it is told to stop."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from types import FrameType

# Before anything imports MLflow or Evidently.
os.environ.setdefault("DO_NOT_TRACK", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from loguru import logger

from feature_repo.offline.files import open_files
from monitor.adapters.alerts import AlertTopic
from monitor.adapters.champions import Champions, ModelEvents
from monitor.adapters.features import FeatureFeed
from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.handlers import Monitor, handle_champion, handle_rows, resume
from monitor.performance import performance_by_version
from monitor.settings import MonitorSettings
from runtime.clock import SystemClock
from runtime.errors import NotEnoughData, Unavailable
from runtime.logs import configure_logs
from runtime.registry import Registry
from runtime.retry import wait_for


def main() -> None:
    """Run the monitor until SIGTERM or SIGINT; exit code 0 then, 1 if it crashed."""
    settings = MonitorSettings()
    configure_logs("monitor", settings)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _stop)
    run(settings)


def run(settings: MonitorSettings) -> None:
    """Wait for Kafka, MLflow and a champion, then watch `person.features` without end."""
    with ExitStack() as opened:
        feed = opened.enter_context(closing(wait_for(lambda: FeatureFeed(settings))))
        alerts = opened.enter_context(closing(wait_for(lambda: AlertTopic(settings))))
        events = opened.enter_context(closing(wait_for(lambda: ModelEvents(settings, settings.monitor_champion_poll_s))))
        champions = opened.enter_context(closing(Champions(Registry(settings))))
        monitor = Monitor(
            champion=wait_for(champions.current),
            rule=settings.rule,
            size=settings.monitor_window,
            quiet_windows=settings.monitor_quiet_windows,
            checkpoints=feed,
            alerts=alerts,
            clock=SystemClock(),
        )
        logger.bind(model_version=monitor.champion.version, window=monitor.size).info("watching {}", feed.topic)
        watch(monitor, feed, events, champions, OfflineHistory(open_files(settings.offline)))


def watch(monitor: Monitor, feed: FeatureFeed, events: ModelEvents, champions: Champions, history: OfflineHistory) -> None:
    """Handle what arrives, without end; a champion is looked for before the rows that came after it are counted."""
    while True:
        if events.due():
            _refresh(monitor, champions)
        batch = feed.poll()
        if batch.resumed is not None:
            resume(monitor, batch.resumed)
        if handle_rows(batch.rows, monitor):
            _log_performance(history)


def _refresh(monitor: Monitor, champions: Champions) -> None:
    """Without the registry the monitor goes on with the champion that it knows."""
    try:
        handle_champion(champions.current(), monitor)
    except Unavailable as error:
        logger.bind(model_version=monitor.champion.version).warning("still comparing with the champion I know: {}", error)


def _log_performance(history: OfflineHistory) -> None:
    for version, found in performance_by_version(history.labelled_predictions()).items():
        logger.bind(model_version=version, **found).info("predictions whose labels came")


def _stop(_number: int, _frame: FrameType | None) -> None:
    # Any instruction is a good place to stop: what was not committed is read again.
    sys.exit(0)


@contextmanager
def champion_and_history(settings: MonitorSettings) -> Iterator[tuple[Champion, OfflineHistory]]:
    """What a report or `habitus drift` looks at; the champion's files are there until the block ends.

    Raises `Unavailable` if MLflow does not answer, `NotEnoughData` if nobody is champion yet.
    """
    with closing(Champions(Registry(settings))) as champions:
        champion = champions.find()
        if champion is None:
            raise NotEnoughData("no model version is champion yet", remedy="train one: habitus train")
        yield champion, OfflineHistory(open_files(settings.offline))
