"""A verification again and again, each result logged and told to Prometheus, until the process is ended."""

import time
from collections.abc import Callable, Iterator
from itertools import repeat

from loguru import logger

from runtime.errors import HabitusError
from streams.verification.metrics import Metrics
from streams.verification.report import Report


def verify_periodically(
    verify: Callable[[], Report],
    every_s: float,
    metrics: Metrics,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Report]:
    """The results of `verify`, begun every `every_s` seconds, or at once where one took longer.

    One that could not be done because a part is away is logged and counted, and the next one is due as ever.
    """
    for _ in repeat(None):
        started = clock()
        try:
            report = verify()
        except HabitusError as error:
            metrics.failed()
            logger.error("verification failed: {} ({})", error, error.remedy)
        else:
            metrics.done(report)
            log(report)
            yield report
        sleep(max(every_s - (clock() - started), 0))


def log(report: Report) -> None:
    """One line a result: a warning with examples where something differs."""
    counts = {name: getattr(report, name) for name in ("checked", "mismatched", "missing", "extra", "positions", "seconds")}
    told = logger.bind(**counts, unapplied=sum(each.unapplied for each in report.freshness))
    if report.holds:
        told.info("verified: online store, history and raw log agree")
    else:
        told.warning("verified: there are differences: {}", "; ".join(report.examples[:3]))
