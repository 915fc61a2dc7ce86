"""`python -m predictor`: serve until SIGTERM or SIGINT."""

import asyncio
import signal
import sys

import uvloop
from loguru import logger

from predictor.bootstrap import PredictorProcess
from predictor.settings import PredictorSettings
from runtime.errors import HabitusError
from runtime.logs import configure_logs


async def serve(settings: PredictorSettings) -> None:
    """Serve until a signal asks to stop."""
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with PredictorProcess(settings) as process:
        await process.run_until(stop)


def main() -> int:
    """The process; its exit code: 0 after a signal, 1 after a failure."""
    settings = PredictorSettings()
    configure_logs("predictor", settings)
    try:
        uvloop.run(serve(settings))
    except HabitusError as error:
        logger.error("stopped: {} ({})", error, error.remedy)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
