"""`python -m predictor`: serve until SIGTERM or SIGINT, in one process or in several that share the address.

What serves is imported by the process that serves: libraries start threads when imported, and who forks must have none.
"""

import asyncio
import signal
import sys
from functools import partial

from loguru import logger

from predictor.adapters.listening import held
from predictor.processes import GIVE_UP, Workers
from predictor.settings import PredictorSettings
from runtime.errors import HabitusError, InvalidSetting
from runtime.logs import configure_logs

# Beside the grace of running requests: the prediction log's and the listener's threads, the clients, the interpreter.
_END_WITHIN_S = 8.0


async def serve(settings: PredictorSettings, lifeline: int | None = None) -> None:
    """Serve until a signal asks to stop, or until `lifeline` ends because the parent did."""
    from predictor.bootstrap import PredictorProcess  # noqa: PLC0415  it starts threads

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    if lifeline is not None:
        loop.add_reader(lifeline, stop.set)
    async with PredictorProcess(settings) as process:
        await process.run_until(stop)


def main() -> int:
    """The process; its exit code: 0 after a signal, 1 after a failure."""
    settings = PredictorSettings()
    configure_logs("predictor", settings)
    try:
        if settings.predictor_processes > 1:
            return serve_in_several(settings)
        _run(settings)
    except HabitusError as error:
        _complain(error)
        return 1
    return 0


def serve_in_several(settings: PredictorSettings) -> int:
    """The parent of `predictor_processes` workers; its exit code. Raises `InfrastructureError` for an address that is taken."""
    with held(settings.predictor_address) as address:
        logger.bind(address=address, processes=settings.predictor_processes).info("the parent of several predictors")
        shared = settings.model_copy(update={"predictor_address": address})
        grace_s = settings.predictor_stop_grace_s + _END_WITHIN_S
        return Workers(settings.predictor_processes, partial(_work, shared), grace_s).run()


def _work(settings: PredictorSettings, number: int, lifeline: int) -> int:
    port = settings.predictor_metrics_port
    own = settings.model_copy(update={"predictor_metrics_port": port + number if port else 0})
    try:
        _run(own, lifeline)
    except InvalidSetting as error:
        _complain(error)
        return GIVE_UP
    except HabitusError as error:
        _complain(error)
        return 1
    return 0


def _run(settings: PredictorSettings, lifeline: int | None = None) -> None:
    import uvloop  # noqa: PLC0415  of the process that serves

    uvloop.run(serve(settings, lifeline))


def _complain(error: HabitusError) -> None:
    logger.error("stopped: {} ({})", error, error.remedy)


if __name__ == "__main__":
    sys.exit(main())
