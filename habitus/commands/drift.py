"""`habitus drift`: how the latest records differ from what the champion was trained on."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table

if TYPE_CHECKING:
    from feature_repo.reference import Counts
    from monitor.recompute import Judgement

_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 12
_LEAST_SHOWN_P = 0.0001


def register(app: typer.Typer) -> None:
    """Add `drift` to `app`."""
    app.command(epilog="Example: `habitus drift --window 1000`")(drift)


def drift(
    window: Annotated[int | None, typer.Option(min=1, help="How many of the latest persons; default as the monitor's.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the latest records that the champion was not trained on with its training rows, recomputed from the history."""
    from monitor.bootstrap import champion_and_history
    from monitor.recompute import judge
    from monitor.settings import MonitorSettings

    settings = MonitorSettings()
    with champion_and_history(settings) as (champion, history):
        found = judge(champion, history, window or settings.monitor_window, settings.rule)
    if json_:
        typer.echo(json.dumps(as_object(found)))
    else:
        _show(Console(highlight=False), found)


def as_object(found: "Judgement") -> dict[str, Any]:
    """The judgement as scripts read it. The e-values are null until there is a sequential alarm.

    `statistic` is -log10 of the smallest p-value, adjusted for all attributes; an alarm lies above `threshold`.
    """
    return {
        "model_version": found.model_version,
        "events": len(found.window),
        "alarm": found.alarm,
        "e_value": None,
        "statistic": found.statistic,
        "threshold": found.threshold,
        "window_from": found.window.earliest.isoformat() if found.window.earliest else None,
        "window_to": found.window.latest.isoformat() if found.window.latest else None,
        "summary": found.summary,
        "features": [
            {
                "name": verdict.name,
                "psi": verdict.psi,
                "e_value": None,
                "test": verdict.test,
                "statistic": verdict.statistic,
                "p_value": verdict.p_value,
                "drifted": verdict.drifted,
            }
            for verdict in found.verdicts
        ],
    }


def bars(counts: "Counts", width: int = _WIDTH) -> str:
    """Shares as a line of at most `width` bars, the highest one full; neighbours are put together where there are more.

    >>> import numpy as np
    >>> bars(np.array([0, 5, 10]))
    '▁▅█'
    """
    import numpy as np

    together = np.array([part.sum() for part in np.array_split(counts, min(width, len(counts)))], dtype=float)
    heights = together / max(together.max(), 1.0) * (len(_BARS) - 1)
    return "".join(_BARS[round(height)] for height in heights.tolist())


def _show(console: Console, found: "Judgement") -> None:
    window, reference = found.window, found.window.reference
    console.print(
        f"{len(window):,} persons, {window.earliest:%Y-%m-%d %H:%M} to {window.latest:%Y-%m-%d %H:%M}, against "
        f"{reference.rows:,} training rows of version {found.model_version}\n"
    )
    table = Table("attribute", "training", "now", Column("PSI", justify="right"), Column("p", justify="right"), "", box=None)
    counts = window.counts()
    for feature, verdict in zip(reference.features, found.verdicts, strict=True):
        present = len(feature.categories) or len(feature.edges) + 1
        p_value = f"{verdict.p_value:.4f}" if verdict.p_value >= _LEAST_SHOWN_P else f"<{_LEAST_SHOWN_P}"
        shown = (bars(feature.histogram[:present]), bars(counts[feature.name][:present]))
        mark = "[bold red]drifted[/bold red]" if verdict.drifted else ""
        table.add_row(verdict.name, *shown, f"{verdict.psi:.3f}", p_value, mark)
    console.print(table)
    outcome = "[bold red]alarm[/bold red]" if found.alarm else "[green]no alarm[/green]"
    console.print(f"\n{outcome} (statistic {found.statistic:.1f}, threshold {found.threshold:.1f}): {found.summary}")
