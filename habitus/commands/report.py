"""`habitus report KIND`: the Evidently reports, from the offline history."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    from monitor.reports.render import Summary

KindName = Literal["data-drift", "data-quality", "target-drift", "model-performance"]


def register(app: typer.Typer) -> None:
    """Add `report` to `app`."""
    app.command(epilog="Example: `habitus report data-drift --window 300 --out drift.html`")(report)


def report(
    kind: Annotated[KindName, typer.Argument(help="What to look at.", show_default=False)],
    window: Annotated[int, typer.Option(min=1, help="How many of the latest rows to compare with the training rows.")] = 1_000,
    out: Annotated[Path | None, typer.Option(help="HTML file; default `reports/KIND.html` in the home folder.")] = None,
    json_out: Annotated[Path | None, typer.Option(help="JSON file; default beside the HTML file.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the latest rows of the history with the champion's training rows, as HTML and JSON.

    data-drift and data-quality look at the attributes, target-drift at true and predicted levels, model-performance at the
    predictions whose labels came.
    """
    with Console(stderr=True).status(f"{kind} report"):
        summary = _make(kind, window, out, json_out)
    if json_:
        typer.echo(json.dumps(asdict(summary)))
        return
    console = Console(highlight=False)
    console.print(
        f"{kind}: {summary.current_rows:,} rows ({summary.since[:10]} to {summary.until[:10]}) against "
        f"{summary.reference_rows:,} training rows of version {summary.model_version}"
    )
    if summary.scores:
        console.print(", ".join(f"{name} {value:.4g}" for name, value in summary.scores.items()))
    console.print(f"{summary.tests - summary.failed_tests} of {summary.tests} Evidently tests passed")
    console.print(f"{summary.html}\n{summary.json}", soft_wrap=True)


def _make(kind: KindName, window: int, out: Path | None, json_out: Path | None) -> "Summary":
    # First: it keeps MLflow and Evidently from reporting home, which they decide when they are imported.
    from monitor.bootstrap import champion_and_history
    from monitor.reports.kinds import Kind
    from monitor.reports.render import Files, make_report
    from monitor.settings import MonitorSettings

    settings = MonitorSettings()
    html = out or settings.home / "reports" / f"{kind}.html"
    with champion_and_history(settings) as (champion, history):
        return make_report(Kind(kind), champion, history, window, Files(html, json_out or html.with_suffix(".json")))
