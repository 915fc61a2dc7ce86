"""Structured logs: text for people, one JSON object a line in production. Also routes the standard library's logging here."""

import logging
import sys
from types import FrameType

from loguru import logger

from runtime.settings import Settings

_TEXT = "{time:YYYY-MM-DD HH:mm:ss.SSS} {level: <7} {extra[service]} {message} {extra}"
# Libraries that log each poll or each request at INFO.
_QUIET = ("kafka", "aiokafka", "faust", "mode", "alembic", "mlflow", "httpx", "urllib3", "feast")


class _ToLoguru(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        frame: FrameType | None = sys._getframe(6)  # noqa: SLF001  loguru's documented recipe
        depth = 6
        while frame and frame.f_code.co_filename == logging.__file__:
            frame, depth = frame.f_back, depth + 1
        level = record.levelname if record.levelname in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"} else record.levelno
        logger.opt(depth=depth, exception=record.exc_info).log(level, "{}", record.getMessage())


def hush_warnings() -> None:
    """Keep libraries' warnings, deprecations mostly, from people; `python -W` or PYTHONWARNINGS shows them.

    Filters would not do: Feast and others put theirs in front when they are imported.
    """
    if not sys.warnoptions:
        logging.captureWarnings(capture=True)
        logging.getLogger("py.warnings").setLevel(logging.ERROR)


def configure_logs(service: str, settings: Settings) -> None:
    """Log to standard error from now on, each line bound to `service`; called once, in bootstrap."""
    as_json = settings.log_format == "json"
    logger.configure(extra={"service": service})
    logger.remove()
    logger.add(sys.stderr, level=settings.log_level, format=_TEXT, serialize=as_json, backtrace=False, diagnose=False)
    hush_warnings()
    logging.basicConfig(handlers=[_ToLoguru()], level=logging.INFO, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
