"""`habitus replay FILE`: publish a file's rows as person records and delayed labels."""

import json
import re
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

StretchName = Literal["history", "production"]
_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
EXAMPLE = "Example: `habitus replay current.csv --shuffle 7 --label-delay 7d --shift weight-scale=1.04`"


def register(app: typer.Typer) -> None:
    """Add `replay` to `app`."""
    app.command("replay", epilog=EXAMPLE)(replay)


def replay(  # noqa: PLR0917  typer makes options of them
    file: Annotated[Path, typer.Argument(help="CSV, JSON lines or Parquet; published or own column names.")],
    rate: Annotated[str | None, typer.Option(help="Messages a second, such as 500/s; default as fast as Kafka takes.")] = None,
    shuffle: Annotated[int | None, typer.Option(min=0, help="Send in the random order of this seed, not in time order.")] = None,
    label_delay: Annotated[str, typer.Option(help="How long after its record a label arrives: 7d, 12h, 30m.")] = "7d",
    labels: Annotated[bool, typer.Option(help="Publish the levels in the file as label events.")] = True,
    records: Annotated[bool, typer.Option(help="Publish the rows as records.")] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Send at most so many rows.")] = None,
    offset: Annotated[int, typer.Option(min=0, help="Leave out so many rows of the file first.")] = 0,
    shift: Annotated[list[str] | None, typer.Option(help="weight-scale=1.04, age=5, heavier=6, habits=0.3; repeatable.")] = None,
    anchor: Annotated[str, typer.Option(help="Where history ends and production begins.")] = "2025-01-01T00:00:00Z",
    stretch: Annotated[StretchName | None, typer.Option(help="history or production; default: by the source's name.")] = None,
    source: Annotated[str | None, typer.Option(help="Names rows that name no person; default: the file's stem.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the times of rows that have none, and of shifts.")] = 0,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish the rows of FILE to Kafka as person records, and their levels as delayed labels.

    Rows that name no person or time get them by a fixed rule, so the same command sends the same bytes again: person
    `<source>-<row>`, times spread over the 180 days before --anchor (history) or the 90 days after it (production).
    """
    from habitus.data.files import read_rows
    from habitus.data.identity import clean_source
    from habitus.data.messages import ReplayOptions
    from habitus.data.replay import replay as publish
    from habitus.data.shift import Shift
    from runtime.settings import Settings

    options = ReplayOptions(
        source=clean_source(source or file.stem),
        stretch=stretch,
        anchor=moment(anchor),
        seed=seed,
        shift=Shift.parse(shift or ()),
        shuffle=shuffle,
        label_delay=duration(label_delay),
        records=records,
        labels=labels,
        offset=offset,
        limit=limit,
        rate_per_s=per_second(rate),
    )
    rows = read_rows(file)
    with progress_bar() as bar:
        task = bar.add_task(file.name, total=None)
        summary = publish(Settings(), rows, options, progress=lambda sent, total: bar.update(task, completed=sent, total=total))
    if json_:
        typer.echo(json.dumps(asdict(summary), default=datetime.isoformat))
        return
    speed = (summary.records + summary.labels) / max(summary.seconds, 1e-9)
    typer.echo(
        f"published {summary.records:,} records and {summary.labels:,} labels of {summary.persons:,} persons "
        f"in {summary.seconds:.1f} s ({speed:,.0f}/s)"
    )
    if summary.first_time and summary.last_time:
        typer.echo(f"message times {summary.first_time:%Y-%m-%d %H:%M} to {summary.last_time:%Y-%m-%d %H:%M} UTC")


def duration(text: str) -> timedelta:
    """The duration of a text such as `7d`, `12h` or `0s`. Raises `typer.BadParameter`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)", text.strip())
    if not match:
        raise typer.BadParameter(f"{text!r} is no duration; write 7d, 12h, 30m, 10s or 0s")
    return timedelta(seconds=float(match[1]) * _UNITS_S[match[2]])


def per_second(text: str | None) -> float | None:
    """The rate of a text such as `500/s` or `500`. Raises `typer.BadParameter`."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/s)?", text.strip())
    if not match or float(match[1]) <= 0:
        raise typer.BadParameter(f"{text!r} is no rate; write 500/s")
    return float(match[1])


def moment(text: str) -> datetime:
    """The time of an RFC 3339 text with a zone. Raises `typer.BadParameter`."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2025-01-01T00:00:00Z") from error
    if parsed.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone; write {text}Z for UTC")
    return parsed


def progress_bar() -> Progress:
    """A progress bar on standard error; silent where that is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
