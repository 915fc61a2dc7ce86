"""A stream worker whose wall clock jumps to and fro every second, by minutes and by years.

Run as the worker is: `python -m tests.faults.jumping_clock`. Both ways in which the code asks for the time are led astray:
`time.time`, by which the Kafka clients and Faust stamp what nobody has stamped, and the clock that the worker injects. Time as
such goes on: `time.monotonic` is left alone, as setting a system's clock leaves it.
"""

import time
from datetime import UTC, datetime

from runtime.clock import SystemClock

_JUMPS_S = (0, 3_600, -86_400, 40 * 365 * 86_400, -200, 10 * 86_400, -10 * 365 * 86_400)
_true_time = time.time


def jumping_time() -> float:
    """Seconds since 1970 by a clock that somebody sets every second."""
    return _true_time() + _JUMPS_S[int(time.monotonic()) % len(_JUMPS_S)]


def jumping_now(_: SystemClock) -> datetime:
    """The present by the same clock."""
    return datetime.fromtimestamp(jumping_time(), UTC)


def main() -> None:
    """Run a worker by that clock."""
    time.time = jumping_time
    time.time_ns = lambda: int(jumping_time() * 1e9)
    SystemClock.now = jumping_now  # type: ignore[method-assign]
    from streams.bootstrap import run  # noqa: PLC0415  after time was led astray

    run()


if __name__ == "__main__":
    main()
