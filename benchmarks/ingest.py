"""Writing feature rows into the online store: our guarded, pipelined writer against Feast's `write_to_online_store`.

Both write the same materialised rows of simulated persons into the same Redis, a batch after the other, in turn. Feast's write is
guarded by a read of the timestamp, ours by a script that also moves the fold's state; Feast writes no state. The time of
materialising is in neither.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from feature_repo.materialise import Located, materialise
from feature_repo.online.layout import VIEW
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.person import parse_record, resolve_time
from feature_repo.store import apply_definitions, open_store
from feature_repo.temporal import PersonState
from habitus.data.identity import Stretch
from habitus.data.simulator import simulate
from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from habitus.stack.ports import USUAL
from runtime.settings import Settings

BATCH, ROUNDS = 1_000, 8
_ORIGIN = {"source_topic", "source_partition", "source_offset", "late"}

Batch = tuple[pa.Table, Mapping[str, PersonState]]


def batches() -> Iterator[Batch]:
    """Materialised rows of different persons, BATCH at a time, and the states after them."""
    noon = datetime(2025, 1, 1, 12, tzinfo=UTC)
    rows = simulate(BATCH * ROUNDS, persons=BATCH * ROUNDS, seed=11, stretch=Stretch.named("history")).drop(
        columns="event_timestamp"
    )
    records = [resolve_time(parse_record(fields).record, noon) for fields in rows.to_dict("records")]
    for start in range(0, len(records), BATCH):
        located = [Located(each, "bench", 0, start + n, noon) for n, each in enumerate(records[start : start + BATCH])]
        yield materialise(located, {})


def rows_per_second(write: Callable[[], None]) -> float:
    """How fast `write` stores one batch."""
    started = time.perf_counter()
    write()
    return BATCH / (time.perf_counter() - started)


def measure(settings: Settings) -> tuple[list[float], list[float]]:
    """Rows a second of each round, ours and Feast's, in turn."""
    apply_definitions(settings)
    store, ours = open_store(settings), OnlineWriter(connect(settings), "bench_ours")
    mine, theirs = [], []
    for rows, states in batches():
        frame = rows.to_pandas().drop(columns=list(_ORIGIN))
        mine.append(rows_per_second(lambda rows=rows, states=states: ours.apply(rows, states)))  # type: ignore[misc]
        theirs.append(rows_per_second(lambda frame=frame: store.write_to_online_store(VIEW, df=frame)))  # type: ignore[misc]
    return mine[1:], theirs[1:]  # the first round warms up


def main() -> None:
    """Run against a Redis of its own."""
    with tempfile.TemporaryDirectory(prefix="habitus-bench-") as folder:
        stack = Stack(Home.at(Path(folder) / "home"), usual=dict.fromkeys(USUAL, 0), tied=True)
        try:
            address = stack.up(["redis"]).addresses["redis"]
            mine, theirs = measure(Settings(home=Path(folder), redis_url=address, project="bench_feast"))
        finally:
            stack.down()
    table = Table("writer", "rows/s, median", "least", "most", box=None)
    for name, rates in (("habitus", mine), ("Feast write_to_online_store", theirs)):
        table.add_row(name, *(f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates))))
    Console().print(table)
    ratios = [ours / feasts for ours, feasts in zip(mine, theirs, strict=True)]
    found = {"rows_per_second": round(statistics.median(mine)), "ratio_to_feast": round(statistics.median(ratios), 2)}
    print(json.dumps(found))  # noqa: T201  the last line is for scripts


if __name__ == "__main__":
    main()
