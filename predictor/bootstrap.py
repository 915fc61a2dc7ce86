"""The only wiring: settings to a running predictor.

It answers at once (NOT_SERVING, UNAVAILABLE) and serves as soon as Redis answers and a champion is loaded.
"""

import asyncio
from datetime import timedelta
from importlib.metadata import version
from types import TracebackType
from typing import Self

from loguru import logger

from feature_repo.online.reader import OnlineReader, open_hashes
from predictor.adapters.grpc_guard import make_guard
from predictor.adapters.grpc_server import GrpcServer, PredictorService
from predictor.adapters.health import watch
from predictor.adapters.kafka_log import prediction_log
from predictor.adapters.model_events import ModelEventListener
from predictor.adapters.model_files import ModelFiles
from predictor.adapters.refusals import RefusalTeller
from predictor.handlers import FeatureReader, Parts
from predictor.metrics import Metrics, Readings
from predictor.protection.circuit import Circuit, GuardedReader
from predictor.settings import PredictorSettings
from predictor.settled import settled_first
from predictor.shadow import Shadow
from predictor.shelf import Shelf, ShelfRules, keep_fresh
from runtime.announcer import KafkaAnnouncer
from runtime.clock import Clock, SystemClock
from runtime.metrics import new_registry, serve
from runtime.registry import Registry


class PredictorProcess:
    """A predictor on the running event loop: `async with PredictorProcess(settings) as process: ...`."""

    def __init__(self, settings: PredictorSettings) -> None:
        self._settings = settings
        clock = SystemClock()
        self._reader = OnlineReader(open_hashes(settings), settings.project)
        self._shelf = _shelf(settings, clock)
        self._log = prediction_log(settings, settings.predictor_log_buffer)
        self._wake = asyncio.Event()
        self._events = ModelEventListener(settings, self._wake.set, asyncio.get_running_loop())
        self.registry = new_registry("predictor", version("habitus"))
        self._shadow = Shadow(self._log, clock, self.registry, settings.predictor_shadow_buffer)
        metrics = Metrics()
        self.registry.register(metrics)
        reader = guarded_reader(self._reader, settings)
        guard = make_guard(settings, metrics.called)
        parts = Parts(reader, self._shelf, self._log, clock, self._shadow, metrics)
        service = PredictorService(parts, self._shelf)
        metrics.readings = Readings(
            waiting=lambda: service.waiting,
            inside=lambda: guard.inside,
            circuit_is_open=lambda: reader.is_open,
            log_dropped=lambda: self._log.dropped,
            servings=lambda: self._shelf.servings,
        )
        self._server = GrpcServer(settings, service, guard)
        self._tasks: list[asyncio.Task[None]] = []
        self.address = settings.predictor_address

    async def __aenter__(self) -> Self:
        self.address = await self._server.start(self._settings.predictor_address)
        host, port = self._settings.predictor_metrics_host, self._settings.predictor_metrics_port
        serve(
            self.registry, host, port, "HABITUS_PREDICTOR_METRICS_PORT"
        )  # after the server: its port is what a second one lacks
        logger.bind(address=self.address).info("listening")
        self._log.start()
        self._events.start()
        self._tasks = [
            asyncio.create_task(keep_fresh(self._shelf, self._wake, self._settings.predictor_poll_s), name="reload"),
            asyncio.create_task(self._shadow.run(), name="shadow"),
            asyncio.create_task(
                watch(self._reader.ping, lambda: self._shelf.champion is not None, settled_first(self._server.say)), name="health"
            ),
        ]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.stop()
        await asyncio.gather(asyncio.to_thread(self._log.close), asyncio.to_thread(self._events.close))
        await self._reader.close()

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set. Raises what ended a task of the process before."""
        stopping = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait([stopping, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        for task in done:
            task.result()


def _shelf(settings: PredictorSettings, clock: Clock) -> Shelf:
    rules = ShelfRules(
        previous_for=timedelta(seconds=settings.predictor_previous_s),
        shadowing=settings.predictor_shadow,
        on_refusal=RefusalTeller(KafkaAnnouncer(settings, "predictor"), clock),
    )
    files = ModelFiles(Registry(settings), settings.home, clock, row_limit_ms=settings.predictor_row_limit_ms)
    return Shelf(files, clock, rules)


def guarded_reader(reader: FeatureReader, settings: PredictorSettings) -> GuardedReader:
    """The reader with a bound on its time and a circuit of its own."""
    circuit = Circuit(
        "redis",
        failures=settings.predictor_circuit_failures,
        within_s=settings.predictor_circuit_within_s,
        pause_s=settings.predictor_circuit_pause_s,
    )
    return GuardedReader(reader, circuit, settings.predictor_read_timeout_s)
