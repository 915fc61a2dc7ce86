"""`habitus evaluate`: how well a model does on the labelled rows of a file, computed by the serving code."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def register(app: typer.Typer) -> None:
    """Add `evaluate` to `app`."""
    app.command()(evaluate)


def evaluate(
    file: Annotated[Path, typer.Argument(help="Labelled rows: CSV, JSON lines or Parquet.")],
    model_uri: Annotated[
        str, typer.Option(help="An alias, a version number, or an MLflow URI such as models:/obesity-level/3.")
    ] = "champion",
    predictions: Annotated[Path | None, typer.Option(help="Write each row's probabilities to this Parquet file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as one JSON object.")] = False,
) -> None:
    """Score a model on labelled rows, through the same code that serves it.

    Example: habitus evaluate current.csv --model-uri models:/obesity-level/3 --predictions scored.parquet
    """
    from rich.console import Console

    from habitus.data.files import read_rows
    from predictor import evaluate as scoring
    from predictor.settings import PredictorSettings

    with Console(stderr=True).status(f"scoring {file.name}"):
        found = scoring.evaluate(PredictorSettings(), read_rows(file), model_uri)
    if predictions is not None:
        predictions.parent.mkdir(parents=True, exist_ok=True)
        found.predictions.to_parquet(predictions, index=False)
    summary = found.summary()
    if as_json:
        typer.echo(json.dumps(summary))
    else:
        _show(summary)


def _show(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("score", "value", title=f"model version {summary.pop('model_version')}")
    table.add_row("rows", f"{summary.pop('rows'):,}")
    for name, value in summary.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
