"""`habitus models`, `habitus promote`, `habitus rollback`: the versions in the registry and which of them serves."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from runtime.registry import ModelVersion

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    for each in (models, promote, rollback):
        app.command(rich_help_panel="Models")(each)


def models(as_json: AsJson = False) -> None:
    """List the registered versions, newest first, with their scores on gate rows and what the gate decided.

    Example: `habitus models`, or `habitus models --json`
    """
    from runtime.registry import Registry
    from trainer.settings import TrainerSettings

    described = [describe(version) for version in Registry(TrainerSettings()).versions()]
    if as_json:
        typer.echo(json.dumps({"models": described}))
    elif described:
        Console().print(_table(described))
    else:
        typer.echo("no model is registered yet; `habitus train` makes the first")


def promote(version: Annotated[str, typer.Argument(help="The number of a registered version.")], as_json: AsJson = False) -> None:
    """Make a version champion, whatever the gate said of it; the champion until now becomes `previous`.

    Example: `habitus promote 3`
    """
    from trainer.bootstrap import wire
    from trainer.settings import TrainerSettings

    chosen = wire(TrainerSettings()).promotion.promote(version)
    _say(chosen.version, "promoted", as_json=as_json)


def rollback(as_json: AsJson = False) -> None:
    """Let champion and previous change places.

    Example: `habitus rollback`
    """
    from trainer.bootstrap import wire
    from trainer.settings import TrainerSettings

    chosen = wire(TrainerSettings()).promotion.rollback()
    _say(chosen.version, "rolled back to", as_json=as_json)


def describe(version: "ModelVersion") -> dict[str, Any]:
    """One version as `habitus models --json` shows it; scores are those of its gate rows, null where a version has none."""
    tags = version.tags
    return {
        "version": version.version,
        "aliases": sorted(version.aliases),
        "family": tags.get("family"),
        **{name: float(tags[name]) if name in tags else None for name in ("accuracy", "macro_f1", "log_loss")},
        "rows": int(tags["rows"]) if "rows" in tags else None,
        "as_of": tags.get("as_of"),
        "created_at": version.created_at.isoformat(),
        "decision": json.loads(tags["decision"]) if "decision" in tags else None,
    }


def _say(version: str, what: str, *, as_json: bool) -> None:
    typer.echo(json.dumps({"champion": version}) if as_json else f"{what} version {version}")


def _table(described: list[dict[str, Any]]) -> Table:
    table = Table("version", "aliases", "family", "accuracy", "macro F1", "created", "decision", title="obesity-level")
    for each in described:
        table.add_row(
            each["version"],
            ", ".join(each["aliases"]),
            each["family"] or "",
            *("" if each[name] is None else f"{each[name]:.4f}" for name in ("accuracy", "macro_f1")),
            each["created_at"][:19],
            _verdict(each["decision"] or {}),
        )
    return table


def _verdict(decision: dict[str, Any]) -> str:
    if decision.get("p_value") is None:
        return str(decision.get("outcome", ""))
    return f"{decision['outcome']}, p = {decision['p_value']:.2g}"
