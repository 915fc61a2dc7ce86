"""Whether a server's memory grows with the requests that it answers: the slope of its resident memory over them."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.serving.contenders import Contender
from benchmarks.serving.cores import resident_bytes
from benchmarks.serving.figures import Slope
from benchmarks.serving.h2load import load

_CONCURRENCY = 32
_STEPS = 40
_SETTLED_AFTER = 0.25  # of the steps: caches, buffers and the allocator's arenas have their size by then
_MIB = 2**20


@dataclass(frozen=True)
class Growth:
    """Resident memory when it had settled and in the end, and the bytes that each request between them left behind."""

    requests: int
    settled_mib: float
    last_mib: float
    bytes_a_request: Slope

    def __str__(self) -> str:
        rise, error = self.bytes_a_request.rise, self.bytes_a_request.error
        return (
            f"{self.settled_mib:,.1f} MiB when settled, {self.last_mib:,.1f} MiB after {self.requests:,} requests: "
            f"{rise:+.2f} bytes a request (standard error {error:.2f})"
        )


def growth(contender: Contender, requests: int) -> Growth:
    """Watch the memory of `contender` over `requests` requests. Raises `WrongAnswers`."""
    found = []
    for _ in range(_STEPS):
        load(contender.address, contender.calls, _CONCURRENCY, requests // _STEPS)
        found.append(resident_bytes(contender.pids))
    return grown(found, requests // _STEPS)


def grown(resident: Sequence[int], requests_a_step: int) -> Growth:
    """The growth in measurements that lie so many requests apart."""
    settled = resident[int(len(resident) * _SETTLED_AFTER) :]
    slope = Slope.through([step * requests_a_step for step in range(len(settled))], settled)
    return Growth(len(resident) * requests_a_step, settled[0] / _MIB, settled[-1] / _MIB, slope)
