"""`habitus verify`: do online store, history and raw log say the same?"""

import asyncio
import json
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from habitus.commands.replay import duration, progress_bar

if TYPE_CHECKING:
    from runtime.settings import Settings
    from streams.verification.report import Report

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object (with --every: one a line).")]
DEFAULT_SAMPLE = 1000
EXAMPLE = "Example: `habitus verify --all`, or for ever: `habitus verify --every 60s --metrics-port 9109`"
_PAIRS = {
    "online_history": "online row = latest in history (persons)",
    "history_recomputed": "history = recomputed from log (rows)",
    "state_recomputed": "online state = recomputed (persons)",
}
_KINDS = ("mismatched", "missing", "extra")
_STOP_WITHIN_S = 4.0
_AGES = ((86_400, "d"), (3_600, "h"), (60, "min"))


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Checks", epilog=EXAMPLE)(verify)


def verify(  # noqa: PLR0917  typer makes options of them
    everyone: Annotated[bool, typer.Option("--all", help="Check every person.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="Check N persons, chosen by a hash of their names.")] = DEFAULT_SAMPLE,
    every: Annotated[str | None, typer.Option(help="Again and again, begun at this interval: 60s, 10m.")] = None,
    metrics_port: Annotated[int, typer.Option(min=0, max=65_535, help="With --every: serve Prometheus metrics here.")] = 0,
    metrics_host: Annotated[str, typer.Option(help="The address of the metrics.")] = "127.0.0.1",
    as_json: AsJson = False,
) -> None:
    """Compare online rows with the history, and both with a recomputation from the raw log. Exit code 1 on any difference.

    Of each person: the online row against the latest one in the history, each history row against the one that the raw log gives,
    the fold's online state against the recomputed one. A worker that is behind is no difference; how far it is behind is shown.
    """
    from runtime.settings import Settings

    settings, size = Settings(), None if everyone else sample
    if every is not None:
        _verify_for_ever(settings, size, _interval_s(every), (metrics_host, metrics_port), as_json=as_json)
    report = _verified(settings, size)
    _show(report, as_json=as_json)
    raise typer.Exit(0 if report.holds else 1)


def _verified(settings: "Settings", size: int | None) -> "Report":
    from streams.verify import verify as compare

    with progress_bar() as bar:
        task = bar.add_task("raw log, once more", total=None)
        return asyncio.run(compare(settings, size, progress=lambda done, of: bar.update(task, completed=done, total=of)))


def _interval_s(text: str) -> float:
    interval_s = duration(text).total_seconds()
    if interval_s <= 0:
        raise typer.BadParameter(f"--every {text!r} leaves no pause; write 60s, say")
    return interval_s


def _verify_for_ever(
    settings: "Settings", size: int | None, every_s: float, address: tuple[str, int], *, as_json: bool
) -> NoReturn:
    from importlib.metadata import version

    from runtime.logs import configure_logs
    from runtime.metrics import new_registry, serve
    from streams.verification.metrics import Metrics
    from streams.verification.periodic import verify_periodically
    from streams.verify import verify as compare

    signal.signal(signal.SIGTERM, _end)
    configure_logs("verify", settings)
    registry = new_registry("verify", version("habitus"))
    metrics = Metrics(registry)
    serve(registry, *address, setting="--metrics-port")
    for report in verify_periodically(lambda: asyncio.run(compare(settings, size)), every_s, metrics):
        if as_json:
            typer.echo(json.dumps(report.as_object()))
    raise AssertionError("verifications end with the process")


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """Leave at once, whatever is being read; a connection that does not close is left behind."""
    timer = threading.Timer(_STOP_WITHIN_S, os._exit, (0,))
    timer.daemon = True
    timer.start()
    sys.exit(0)


def _show(report: "Report", *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.as_object()))
        return
    console = Console()
    console.print(_pairs(report))
    console.print(_freshness(report))
    if not report.checked:
        typer.echo("nobody was there to check: neither log, history nor online store holds a person")
    for sentence in report.examples:
        typer.echo(sentence)
    typer.echo(_summary(report))


def _summary(report: "Report") -> str:
    lines = [f"{report.checked:,} persons; {report.rows:,} rows of {report.messages:,} messages in {report.seconds:.1f} s"]
    if report.holds:
        return f"all agree: {lines[0]}"
    lines.append(f"DIFFERENT: {report.mismatched:,} persons mismatched, {report.missing:,} missing, {report.extra:,} extra")
    if report.positions:
        lines.append(f"{report.positions} watermarks or ends contradict one another; a running worker mends a lost watermark")
    return "\n".join([*lines, "`habitus backfill` makes history and online store anew from the raw log"])


def _pairs(report: "Report") -> Table:
    table = Table("compared", *_KINDS, title="online store, history, raw log")
    for name, counts in report.pairs.items():
        table.add_row(_PAIRS[name], *(f"{getattr(counts, kind):,}" for kind in _KINDS))
    return table


def _freshness(report: "Report") -> Table:
    headings = ("partition", "log end", "history", "watermark", "waiting", "oldest", "newest applied")
    table = Table(*headings, title="freshness (ages by the messages' timestamps)")
    for each in report.freshness:
        ends = (_or_dash(end) for end in (each.log_end, each.history_end, each.watermark))
        ages = (_age(each.oldest_unapplied_s), _age(each.newest_applied_s))
        table.add_row(str(each.partition), *ends, f"{each.unapplied:,}", *ages)
    return table


def _or_dash(offset: int | None) -> str:
    return "-" if offset is None else str(offset)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for length, unit in _AGES:
        if abs(seconds) >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"
