"""`habitus data fetch|simulate|describe`: get rows, make rows, look at rows."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from habitus.commands.replay import StretchName, moment

if TYPE_CHECKING:
    from habitus.data.describe import Attribute, Description

commands = typer.Typer(help="Get, simulate and describe person records.", no_args_is_help=True)

_COMMONEST = 3


def register(app: typer.Typer) -> None:
    """Add `data` and its commands to `app`."""
    app.add_typer(commands, name="data")


@commands.command(epilog="Example: `KAGGLE_USERNAME=ada KAGGLE_KEY=... habitus data fetch`")
def fetch(json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Download the published rows into the cache: Kaggle S4E2 (needs credentials) and UCI dataset 544.

    What is in the cache already is left. Exit code 1 if a file is still missing.
    """
    from habitus.data.settings import DataSettings
    from habitus.data.sources import fetch as download_missing

    fetched = download_missing(DataSettings())
    if json_:
        typer.echo(json.dumps({"files": [asdict(each) for each in fetched]}, default=str))
    else:
        for each in fetched:
            typer.echo(f"{each.file}: {each.problem or f'{each.path} (SHA-256 {each.sha256[:12]})'}")
    if any(each.problem for each in fetched):
        if not json_:
            typer.echo("Until both files are there, habitus works on the simulated population; or set HABITUS_DATA.", err=True)
        raise typer.Exit(1)


@commands.command(epilog="Example: `habitus data simulate --rows 3000 --shift weight-scale=1.04 --out drifted.csv`")
def simulate(  # noqa: PLR0917  typer makes options of them
    out: Annotated[Path, typer.Option(help="File to write: .csv, .jsonl or .parquet.")],
    rows: Annotated[int, typer.Option(min=1, help="Records in all.")] = 10_000,
    persons: Annotated[int | None, typer.Option(min=1, help="Persons who have them, 1 to 4 each; default rows / 1.8.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")] = 0,
    shift: Annotated[list[str] | None, typer.Option(help="weight-scale=1.04, age=5, heavier=6, habits=0.3; repeatable.")] = None,
    stretch: Annotated[StretchName, typer.Option(help="180 days before the anchor, or 90 days after.")] = "history",
    anchor: Annotated[str, typer.Option(help="Where history ends and production begins.")] = "2025-01-01T00:00:00Z",
    source: Annotated[str, typer.Option(help="First part of every person id.")] = "simulated",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a simulated population: no real person is in it, its statistics are those of the published data."""
    from habitus.data.files import write_rows
    from habitus.data.identity import Stretch
    from habitus.data.shift import Shift
    from habitus.data.simulator import simulate as draw

    change = Shift.parse(shift or ())
    drawn = draw(rows, stretch=Stretch.named(stretch, moment(anchor)), persons=persons, seed=seed, source=source)
    write_rows(change.apply(drawn, seed=seed), out)
    made = {"file": str(out), "rows": len(drawn), "persons": int(drawn["person_id"].nunique()), "seed": seed, "simulated": True}
    typer.echo(json.dumps(made) if json_ else f"wrote {made['rows']:,} simulated records of {made['persons']:,} persons to {out}")


@commands.command(epilog="Example: `habitus data describe current.csv`")
def describe(
    file: Annotated[Path | None, typer.Argument(help="CSV, JSON lines or Parquet; default: the population in use.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show rows, persons, levels, missing cells and ranges of FILE, or of the history and production rows in use."""
    from habitus.data.describe import describe as count
    from habitus.data.files import read_rows
    from habitus.data.settings import DataSettings
    from habitus.data.sources import open_population

    note = ""
    if file is not None:
        described = {str(file): count(read_rows(file))}
    else:
        population = open_population(DataSettings())
        note = population.note
        described = {"history": count(population.history), "production": count(population.production)}
    if json_:
        typer.echo(json.dumps({"note": note, "files": {name: asdict(each) for name, each in described.items()}}))
        return
    console = Console()
    if note:
        console.print(note, markup=False)
    for name, description in described.items():
        _show(console, name, description)


def _show(console: Console, name: str, description: "Description") -> None:
    span = f", {description.first_time} to {description.last_time}" if description.first_time else ""
    console.print(f"\n[bold]{name}[/bold]: {description.rows:,} rows, {description.persons:,} persons{span}", highlight=False)
    if description.missing_columns:
        console.print(f"[red]missing columns: {', '.join(description.missing_columns)}[/red]", highlight=False)
    console.print(_levels(description))
    console.print(_attributes(description.attributes))


def _levels(description: "Description") -> Table:
    table = Table("level", "rows", "share", "", box=None, pad_edge=False)
    most = max(description.levels.values(), default=1)
    for level, count in description.levels.items():
        table.add_row(level, f"{count:,}", f"{count / description.rows:.1%}", "█" * round(24 * count / most))
    return table


def _attributes(attributes: "tuple[Attribute, ...]") -> Table:
    name = Column("attribute", no_wrap=True)
    table = Table(name, "missing", "unreadable", "lowest", "median", "highest", "commonest", box=None, pad_edge=False)
    for each in attributes:
        numbers = ["" if number is None else f"{number:.4g}" for number in (each.lowest, each.median, each.highest)]
        commonest = ", ".join(f"{value} {count:,}" for value, count in list(each.values.items())[:_COMMONEST])
        table.add_row(each.name, str(each.missing), str(each.unreadable), *numbers, commonest)
    return table
