"""`habitus verify`: does the online store hold what the history says?"""

import asyncio
import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
DEFAULT_SAMPLE = 1000


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command(rich_help_panel="Checks")(verify)


def verify(
    everyone: Annotated[bool, typer.Option("--all", help="Check every person.")] = False,
    sample: Annotated[int, typer.Option(min=1, help="Check N persons, chosen by a hash of their names.")] = DEFAULT_SAMPLE,
    as_json: AsJson = False,
) -> None:
    """Compare online rows with the history's latest row of each person, value by value. Exit code 1 on any difference.

    Example: `habitus verify --all`
    """
    from runtime.settings import Settings
    from streams.verify import verify as compare

    report = asyncio.run(compare(Settings(), None if everyone else sample))
    if as_json:
        typer.echo(json.dumps(asdict(report)))
    else:
        table = Table("checked", "mismatched", "missing", "extra", title="online = history")
        table.add_row(*(str(count) for count in (report.checked, report.mismatched, report.missing, report.extra)))
        Console().print(table)
        if not report.checked:
            typer.echo("nobody was there to check: neither the history nor the online store holds a person")
        for sentence in report.examples:
            typer.echo(sentence)
    raise typer.Exit(0 if report.holds else 1)
