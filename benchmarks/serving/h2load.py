"""The load client: nghttp2's `h2load`, a C program, in closed loops (each connection asks again when it is answered).

It knows nothing of gRPC: an error is a response of HTTP status 200 too, and its trailers go unread. So what was answered is told
by the bytes: an answer of a known size is data of that size and five bytes more, an error has no data at all. Times come from its
log, which holds every request.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from runtime.errors import HabitusError

FRAME_HEAD_BYTES = 5  # compressed or not, and the length: what gRPC puts before each message
PERCENT_99, PERCENT_50 = 99, 50
_OK = 200
_REQUESTS = re.compile(r"^requests: .* (\d+) done, (\d+) succeeded", re.MULTILINE)
_DATA = re.compile(r"\((\d+)\) data$", re.MULTILINE)

Numbers = npt.NDArray[np.int64]


VARIES = 0.01  # the age of the features takes a byte or two more or less; up to so many errors in all are not seen here


class WrongAnswers(HabitusError):
    """A server that is measured did not answer as it must; its figures would mean nothing."""


@dataclass(frozen=True)
class Call:
    """A gRPC method, a message to send to it, and the size of the message that answers it."""

    method: str
    message: bytes
    answer_bytes: int

    @property
    def framed(self) -> bytes:
        """The message as the body of a request."""
        return b"\0" + len(self.message).to_bytes(4, "big") + self.message


class Summary(NamedTuple):
    """What h2load says in the end: requests that ended, those with an HTTP status of 2xx, bytes of their bodies."""

    done: int
    succeeded: int
    data_bytes: int


@dataclass(frozen=True)
class Load:
    """What became of a load: when each request ended (microseconds since 1970), how long it took, how many were answered.

    Those that were not answered ended with an error of gRPC. `window` is the time in which every load process was at work, or the
    whole time if they never were.
    """

    ends_us: Numbers
    durations_us: Numbers
    answered: int
    window: tuple[int, int]

    @property
    def requests(self) -> int:
        """How many requests ended, answered or not."""
        return len(self.ends_us)

    @property
    def refused_share(self) -> float:
        """The share that was not answered."""
        return 1 - self.answered / self.requests

    @property
    def answers_per_second(self) -> float:
        """Answers a second while the load was whole; of the requests that ended in that time the answered share counts."""
        first, last = self.window
        ended = int(((self.ends_us > first) & (self.ends_us <= last)).sum())
        return ended / ((last - first) / 1e6) * (1 - self.refused_share)

    def percentile_ms(self, percent: int) -> float:
        """So many percent of the requests took no longer."""
        return float(np.percentile(self.durations_us, percent)) / 1000


def find_h2load() -> str:
    """The program. Raises `HabitusError` where it is not installed."""
    found = shutil.which("h2load")
    if found is None:
        raise HabitusError("h2load, the load client, was not found", remedy="apt-get install nghttp2-client")
    return found


def load(address: str, calls: Sequence[Call], concurrency: int, requests: int) -> Load:
    """Send `requests` requests (rounded up to equal shares) over `concurrency` connections; as many processes as calls, at most.

    Raises `WrongAnswers` for an answer that is not of its call's size.
    """
    processes = calls[: min(len(calls), concurrency)]
    clients = concurrency // len(processes)
    share = max(clients, -(-requests // len(processes)))
    with tempfile.TemporaryDirectory(prefix="habitus-h2load-") as folder, ExitStack() as running:
        started = [
            running.enter_context(_h2load(Path(folder) / str(number), address, call, clients, share))
            for number, call in enumerate(processes)
        ]
        said = [process.communicate()[0] for process in started]
        logs = [(Path(folder) / str(number) / "log").read_text() for number in range(len(processes))]
    answered = sum(count_answers(parse_summary(text), call, share) for text, call in zip(said, processes, strict=True))
    return together([parse_log(text) for text in logs], answered)


def parse_summary(text: str) -> Summary:
    """The summary in what h2load printed. Raises `WrongAnswers` if there is none: then it failed, and `text` says why."""
    requests, data = _REQUESTS.search(text), _DATA.search(text)
    if requests is None or data is None:
        raise WrongAnswers(f"h2load ended without a result: {text.strip()[-500:]}")
    return Summary(int(requests[1]), int(requests[2]), int(data[1]))


def parse_log(text: str) -> tuple[Numbers, Numbers]:
    """When each request began (microseconds since 1970) and how long it took. Raises `WrongAnswers` for one that broke off."""
    rows = np.array(text.split(), dtype=np.int64).reshape(-1, 3)
    if broken := int((rows[:, 1] != _OK).sum()):
        raise WrongAnswers(f"{broken} of {len(rows)} requests got no response of status {_OK}")
    return rows[:, 0], rows[:, 2]


def count_answers(summary: Summary, call: Call, requests: int) -> int:
    """How many of `requests` were answered. Raises `WrongAnswers` if some got no response, or one of another size."""
    if summary.done != requests or summary.succeeded != requests:
        raise WrongAnswers(f"of {requests} requests {summary.done} ended and {summary.succeeded} got a response")
    size = call.answer_bytes + FRAME_HEAD_BYTES
    answers = min(round(summary.data_bytes / size), requests)
    if abs(summary.data_bytes - answers * size) > answers * size * VARIES:
        raise WrongAnswers(
            f"{summary.data_bytes} bytes of answers are not made of at most {requests} answers of about {size} bytes"
        )
    return answers


def together(logs: Sequence[tuple[Numbers, Numbers]], answered: int) -> Load:
    """One load of what several processes did side by side."""
    ends = [starts + durations for starts, durations in logs]
    window = max(int(each.min()) for each in ends), min(int(each.max()) for each in ends)
    if window[0] >= window[1]:  # so few requests that one process was done before another began
        window = min(int(each.min()) for each in ends) - 1, max(int(each.max()) for each in ends)
    return Load(np.concatenate(ends), np.concatenate([durations for _, durations in logs]), answered, window)


def _h2load(folder: Path, address: str, call: Call, clients: int, requests: int) -> subprocess.Popen[str]:
    folder.mkdir()
    (folder / "body").write_bytes(call.framed)
    options = [f"--requests={requests}", f"--clients={clients}", f"--data={folder / 'body'}", f"--log-file={folder / 'log'}"]
    headers = [word for each in ("content-type: application/grpc", "te: trailers") for word in ("--header", each)]
    return subprocess.Popen(  # noqa: S603  the program that was looked for
        [find_h2load(), *options, *headers, f"http://{address}{call.method}"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
