"""Wires the trainer: the only place where its adapters and settings meet."""

from loguru import logger

from runtime.announcer import KafkaAnnouncer
from runtime.clock import SystemClock
from runtime.logs import configure_logs
from runtime.registry import Alias, Registry
from runtime.retry import wait_for
from trainer.adapters.alerts import open_alerts
from trainer.adapters.history import FeastHistory
from trainer.adapters.model_store import ModelStore
from trainer.handlers import Workshop, retrain
from trainer.promote import Promotion
from trainer.settings import TrainerSettings
from trainer.validation import Progress, silent


def wire(settings: TrainerSettings, progress: Progress = silent) -> Workshop:
    """The workshop over the real history, MLflow and Kafka. Connects to nothing yet."""
    registry, clock = Registry(settings), SystemClock()
    return Workshop(
        settings=settings,
        history=FeastHistory(settings),
        models=ModelStore(settings, registry),
        registry=registry,
        promotion=Promotion(registry, KafkaAnnouncer(settings, "trainer"), clock),
        clock=clock,
        progress=progress,
    )


def run() -> None:
    """Answer drift alerts until the process is told to stop; waits for Kafka and MLflow as long as they are not there."""
    settings = TrainerSettings()
    configure_logs("trainer", settings)
    shop = wire(settings, _log_progress)
    wait_for(lambda: shop.registry.by_alias(Alias.CHAMPION))
    logger.info("answering drift alerts")
    # An alert that an outage cut off was not acknowledged: it comes again.
    wait_for(lambda: _answer_alerts(settings, shop))


def _answer_alerts(settings: TrainerSettings, shop: Workshop) -> None:
    with open_alerts(settings) as alerts:
        for alert in alerts:
            logger.bind(alert_id=alert.id, model_version=alert.model_version).info("drift alert: {}", alert.summary)
            retrain(alert, shop)


def _log_progress(what: str, done: int, of: int) -> None:
    logger.bind(done=done, of=of).info(what)
