"""`habitus train`: train on the history, judge on gate rows, register, and promote what is shown to be better."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from habitus.commands.replay import moment

if TYPE_CHECKING:
    from trainer.handlers import Trained
    from trainer.validation import Progress as Told

_SCORES = ("accuracy", "macro_f1", "log_loss")


class FeatureSet(StrEnum):
    """What the model reads."""

    RAW = "raw"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add `train` to `app`."""
    app.command(rich_help_panel="Models")(train)


def train(
    as_of: Annotated[str | None, typer.Option(help="Use what was known at this time (RFC 3339); default now.")] = None,
    folds: Annotated[int | None, typer.Option(min=2, help="Folds of the cross-validation; default 10.")] = None,
    features: Annotated[FeatureSet | None, typer.Option(help="The 16 attributes (raw, default) or every feature.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train a model on the history, register it, and promote it if it beats the champion on the same gate rows.

    Exit code 0 whether it was promoted or rejected; 1 if nothing could be trained.

    Example: `habitus train`, or `habitus train --as-of 2025-01-01T00:00:00Z --folds 5`
    """
    from runtime.logs import configure_logs
    from trainer.bootstrap import wire
    from trainer.handlers import TrainModel
    from trainer.handlers import train as train_model
    from trainer.settings import TrainerSettings

    settings = TrainerSettings()
    configure_logs("habitus", settings.model_copy(update={"log_level": "WARNING"}))
    command = TrainModel(
        as_of=moment(as_of) if as_of else datetime.now(UTC),
        folds=folds or settings.trainer_folds,
        features=features.value if features else settings.trainer_features,
    )
    with _shown() as progress:
        trained = train_model(command, wire(settings, progress))
    if as_json:
        typer.echo(json.dumps(summary(trained)))
    else:
        Console().print(_table(trained))


def summary(trained: "Trained") -> dict[str, Any]:
    """What `--json` prints."""
    from trainer.training_set import LEVEL, level_counts

    candidate, validation = trained.candidate, trained.candidate.validation
    gate = candidate.gate_scores()
    return {
        "version": trained.version.version,
        "as_of": candidate.as_of.isoformat(),
        "rows": len(candidate.trained_on),
        "classes": level_counts(list(candidate.trained_on[LEVEL])),
        "labels_without_features": candidate.facts["labels_without_features"],
        "folds": len(validation.fold_scores),
        "cv": {name: {"mean": validation.mean(name), "se": validation.standard_error(name)} for name in _SCORES},
        "gate": {"rows": len(candidate.gate_rows)} | {name: {"mean": gate[name], "se": gate[f"{name}_se"]} for name in _SCORES},
        "decision": trained.decision.record(),
    }


def _table(trained: "Trained") -> Table:
    found = summary(trained)
    table = Table("", "", title=f"obesity-level version {found['version']}", show_header=False)
    table.add_row("rows", f"{found['rows']:,} trained on, {found['gate']['rows']:,} gate rows never seen")
    table.add_row("levels", "\n".join(f"{level} {count:,}" for level, count in found["classes"].items()))
    if found["labels_without_features"]:
        table.add_row("left out", f"{found['labels_without_features']:,} labels whose record is not in the history")
    for name in _SCORES:
        title = name.replace("_", " ")
        table.add_row(f"{title}, {found['folds']} folds", _with_error(found["cv"][name]))
        table.add_row(f"{title}, gate rows", _with_error(found["gate"][name]))
    decision = found["decision"]
    table.add_row("decision", f"{decision['outcome']}: {decision['reason']}")
    return table


def _with_error(score: dict[str, float]) -> str:
    return f"{score['mean']:.4f} ± {score['se']:.4f}"


@contextmanager
def _shown() -> Iterator["Told"]:
    """A progress display on standard error, for as long as the work takes."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        task = display.add_task("reading the history", total=None)
        yield lambda what, done, of: display.update(task, description=what, completed=done, total=of)
