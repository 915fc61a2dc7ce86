"""Not asking what does not answer: a circuit breaker around the feature reader.

closed -> (enough failures in a row, within a time) -> open -> (after a pause, one request probes) -> closed, or open again

While it is open requests fail at once, and those that need no stored features are answered all the same. Reference: M. Nygard,
Release It! (2nd ed., 2018), chapter 5, "Circuit Breaker".

Place in the flow: `bootstrap` puts `GuardedReader` between the core and the online store.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta

from loguru import logger

from feature_repo.online.reader import OnlineRow
from predictor.handlers import FeatureReader
from runtime.errors import CircuitOpen, Unavailable

_SOONEST_S = 0.05  # what callers are told at least while a probe is under way


class Circuit:
    """The circuit of one part; used on one event loop. `monotonic` tells seconds that never go back."""

    def __init__(
        self,
        part: str,
        *,
        failures: int,
        within_s: float,
        pause_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part = part
        self._within_s = within_s
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._failed_at_s: deque[float] = deque(maxlen=failures)
        self._open_until_s: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests fail at once, the probe aside."""
        return self._open_until_s is not None

    def enter(self) -> bool:
        """Before asking; True if this is the probe. Its end must be told by one of the methods below. Raises `CircuitOpen`."""
        if self._open_until_s is None:
            return False
        left_s = self._open_until_s - self._monotonic()
        if left_s > 0 or self._probing:
            retry_after = timedelta(seconds=max(left_s, _SOONEST_S))
            raise CircuitOpen(self._part, "it did not answer several times; not asked for now", retry_after=retry_after)
        self._probing = True
        return True

    def succeeded(self, *, probe: bool) -> None:
        """It answered: whoever finds that closes the circuit."""
        self._probing = self._probing and not probe
        if self._open_until_s is not None:
            logger.bind(part=self._part).info("it answers again")
            self._open_until_s = None
        self._failed_at_s.clear()

    def failed(self, *, probe: bool) -> None:
        """It did not answer: once more in a row, or the probe found it so."""
        now_s = self._monotonic()
        self._failed_at_s.append(now_s)
        if probe:
            self._probing, self._open_until_s = False, now_s + self._pause_s
        elif self._open_until_s is None and self._enough(now_s):
            self._open_until_s = now_s + self._pause_s
            logger.bind(part=self._part, failures=len(self._failed_at_s)).warning("it does not answer; requests fail at once")

    def abandoned(self, *, probe: bool) -> None:
        """The asking ended without telling: cancelled, or by an error of ours. The next request is the probe then."""
        self._probing = self._probing and not probe

    def _enough(self, now_s: float) -> bool:
        return len(self._failed_at_s) == self._failed_at_s.maxlen and now_s - self._failed_at_s[0] <= self._within_s


class GuardedReader:
    """A `FeatureReader` that answers or fails within `timeout_s`, and fails at once while the circuit is open."""

    def __init__(self, reader: FeatureReader, circuit: Circuit, timeout_s: float) -> None:
        self._reader = reader
        self._circuit = circuit
        self._timeout_s = timeout_s

    @property
    def is_open(self) -> bool:
        """Whether the reader is not asked, a probe aside."""
        return self._circuit.is_open

    async def read(
        self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool = False
    ) -> list[OnlineRow | None]:
        """As the reader. Raises `Unavailable` for no answer in time, `CircuitOpen` without asking."""
        probe = self._circuit.enter()
        try:
            rows = await self._ask(person_ids, features, with_state=with_state)
        except Unavailable:
            self._circuit.failed(probe=probe)
            raise
        except BaseException:
            self._circuit.abandoned(probe=probe)
            raise
        self._circuit.succeeded(probe=probe)
        return rows

    async def _ask(self, person_ids: Sequence[str], features: Sequence[str], *, with_state: bool) -> list[OnlineRow | None]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._reader.read(person_ids, features, with_state=with_state)
        except TimeoutError as error:
            raise Unavailable("redis", f"no answer within {self._timeout_s:g} s") from error
