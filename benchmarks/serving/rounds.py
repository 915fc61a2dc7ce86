"""Measuring in turn: in every round each contender gets each load once, in the order turned round from one round to the next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.serving.contenders import BATCH, Contender
from benchmarks.serving.cores import cpu_seconds
from benchmarks.serving.h2load import PERCENT_50, PERCENT_99, Call, Load, load

_LEAST = 5  # requests a connection: the first and the last ones do not stand for a load
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Task:
    """A load: how many requests are on their way at once, of single persons or of batches."""

    concurrency: int
    batches: bool = False

    def __str__(self) -> str:
        return f"batches of {BATCH}, {self.concurrency} at once" if self.batches else f"{self.concurrency} at once"

    def calls(self, contender: Contender) -> Sequence[Call]:
        """What the load asks of `contender`; empty if it cannot be asked so."""
        return contender.batches if self.batches else contender.calls


@dataclass(frozen=True)
class Sample:
    """One measurement. `cpu_us` is the server's CPU time a request, all of its processes together."""

    answers_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    refused_share: float

    @classmethod
    def of(cls, found: Load, cpu_s: float) -> "Sample":
        """The figures of a load that cost the server `cpu_s`."""
        p50, p99 = (found.percentile_ms(percent) for percent in (PERCENT_50, PERCENT_99))
        return cls(found.answers_per_second, p50, p99, cpu_s / found.requests * 1e6, found.refused_share)


class Results:
    """Samples by contender and task, in the order of the rounds."""

    def __init__(self) -> None:
        self._samples: dict[tuple[str, Task], list[Sample]] = {}

    def add(self, name: str, task: Task, sample: Sample) -> None:
        """One more round's."""
        self._samples.setdefault((name, task), []).append(sample)

    def of(self, name: str, task: Task, value: Callable[[Sample], float]) -> list[float]:
        """A figure of every round; empty if there was none."""
        return [value(each) for each in self._samples.get((name, task), [])]


def measure_in_turn(contenders: Sequence[Contender], tasks: Sequence[Task], rounds: int, seconds: float, tell: Tell) -> Results:
    """`rounds` samples of about `seconds` of each contender under each task. Raises `WrongAnswers`."""
    results = Results()
    rates = {(each.name, task): _warm_up(each, task, seconds / 2) for each in contenders for task in tasks if task.calls(each)}
    for number in range(rounds):
        for task in tasks:
            tell(f"round {number + 1} of {rounds}: {task}")
            for each in contenders if number % 2 == 0 else reversed(contenders):
                if task.calls(each):
                    results.add(each.name, task, sample(each, task, round(rates[each.name, task] * seconds)))
    return results


def sample(contender: Contender, task: Task, requests: int) -> Sample:
    """One measurement of so many requests, of some more if they are too few for the connections."""
    before = cpu_seconds(contender.pids)
    enough = max(requests, _LEAST * task.concurrency)
    found = load(contender.address, task.calls(contender), task.concurrency, enough)
    return Sample.of(found, cpu_seconds(contender.pids) - before)


def _warm_up(contender: Contender, task: Task, seconds: float) -> float:
    """How many requests a second to expect, found in about `seconds`."""
    first = sample(contender, task, _LEAST).answers_per_second
    return sample(contender, task, round(first * seconds)).answers_per_second
