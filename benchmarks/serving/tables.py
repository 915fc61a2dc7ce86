"""What is printed: a table a load, and the figures that scripts rely on."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.serving.contenders import BATCH, ECHO, FEAST, MLSERVER, NAIVE, OURS, Field
from benchmarks.serving.figures import ratio
from benchmarks.serving.rounds import Results, Sample, Task

ALONE, CROWD, MANY, BATCHES = Task(1), Task(32), Task(128), Task(4, batches=True)
TASKS = (ALONE, CROWD, MANY, BATCHES)
_NONE = "-"
_COLUMNS = (
    ("p50 ms", 2, lambda each: each.p50_ms),
    ("p99 ms", 2, lambda each: each.p99_ms),
    ("CPU us/request", 0, lambda each: each.cpu_us),
    ("refused %", 1, lambda each: 100 * each.refused_share),
)


def tables(field: Field, results: Results) -> Iterable[Table]:
    """One table a task, medians of the rounds."""
    for task in TASKS:
        table = Table(str(task), "requests/s (least-most)", *(name for name, _, _ in _COLUMNS), box=None)
        for each in field.contenders:
            table.add_row(each.name, *_cells(results, each.name, task))
        for name, reason in field.absent.items():
            table.add_row(name, f"not available: {reason}"[:100])
        yield table


def _cells(results: Results, name: str, task: Task) -> list[str]:
    rates = results.of(name, task, _rate)
    if not rates:
        return [_NONE]
    found = (f"{_median(results, name, task, value):,.{digits}f}" for _, digits, value in _COLUMNS)
    return [f"{statistics.median(rates):,.0f} ({min(rates):,.0f}-{max(rates):,.0f})", *found]


def summary(results: Results) -> dict[str, Any]:
    """The figures that the contract names, and some more."""
    return {
        "requests_per_second": round(_median(results, OURS, CROWD, _rate)),
        "ratio_to_naive": _ratio(results, NAIVE, CROWD),
        "ratio_to_echo": _ratio(results, ECHO, CROWD),
        "ratio_to_feast_server": _ratio(results, FEAST, CROWD),
        "ratio_to_mlserver": _ratio(results, MLSERVER, CROWD),
        "p99_ms_c1": round(_median(results, OURS, ALONE, _p99), 3),
        "echo_p99_ms_c1": round(_median(results, ECHO, ALONE, _p99), 3),
        "batch_row_ratio": _ratio(results, NAIVE, BATCHES),
        **_batch_against_single(results),
        "cpu_us_per_request": round(_median(results, OURS, CROWD, lambda each: each.cpu_us)),
    }


def _batch_against_single(results: Results) -> Mapping[str, float]:
    """Rows a second in our batches, and against those that the naive stack makes one by one."""
    rows = [BATCH * each for each in results.of(OURS, BATCHES, _rate)]
    against = ratio(rows, results.of(NAIVE, CROWD, _rate))
    return {"batch_rows_per_second": round(statistics.median(rows)), "batch_row_ratio_to_single": round(against, 2)}


def _rate(each: Sample) -> float:
    return each.answers_per_second


def _p99(each: Sample) -> float:
    return each.p99_ms


def _median(results: Results, name: str, task: Task, value: Any) -> float:
    return statistics.median(results.of(name, task, value))


def _ratio(results: Results, rival: str, task: Task) -> float | None:
    theirs: Sequence[float] = results.of(rival, task, _rate)
    return round(ratio(results.of(OURS, task, _rate), theirs), 2) if theirs else None
