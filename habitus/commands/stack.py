"""`habitus up`, `down`, `status`, `logs`, `doctor`: the local stack at the command line."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from habitus.stack.parts import ALL_PARTS
from runtime.errors import HabitusError
from runtime.settings import default_home

_TERMINATED = 128 + signal.SIGTERM
_GOOD = frozenset({"running", "external"})

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def register(app: typer.Typer) -> None:
    """Add the commands of the local stack to `app`."""
    for each in (up, down, status, logs, doctor):
        app.command(rich_help_panel="Local stack")(each)


def up(
    only: Annotated[str, typer.Option(help=f"Parts to start, of: {','.join(ALL_PARTS)}.")] = ",".join(ALL_PARTS),
) -> None:
    """Start Kafka, Redis, MLflow and our services, and wait until they are ready.

    What runs already stays as it is. A part whose address is set in the environment (`HABITUS_KAFKA_BOOTSTRAP`,
    `HABITUS_REDIS_URL`, `HABITUS_MLFLOW_URI`) is taken to be yours and not started.

    Example: `habitus up`, or `habitus up --only kafka,redis`
    """
    from habitus.commands.progress import PartsDisplay
    from habitus.stack.lifecycle import Stack

    wanted = _parts(only)
    with _terminable(), PartsDisplay(Console(stderr=True)) as display:
        endpoints = Stack(_home()).up(wanted, display.tell)
    for variable, address in endpoints.environment.items():
        typer.echo(f"{variable}={_shown(address)}")


def down(*, purge: Annotated[bool, typer.Option("--purge", help="Also delete all data, and the home folder.")] = False) -> None:
    """Stop everything that `habitus up` started, whatever happened meanwhile; data is kept.

    Example: `habitus down`, or `habitus down --purge`
    """
    from habitus.stack.home import named
    from habitus.stack.lifecycle import Stack

    home = _home()
    left: tuple[str, ...] = ()
    with Console(stderr=True).status("stopping"):
        if purge:
            left = Stack(home).purge()
        else:
            Stack(home).down()
    typer.echo(f"stopped; {home.root} {'is deleted' if purge and not left else 'is kept'}")
    if left:
        typer.echo(f"all data of the stack is deleted; left, as habitus did not make it: {named(left)}")


def status(*, as_json: AsJson = False) -> None:
    """Show each part's state, address, processes and log file, and how many messages the stream has yet to read.

    Example: `habitus status --json | jq .lag`
    """
    from habitus.stack.status import look

    home = _home()
    found = look(home)
    if as_json:
        _print_json(found.as_json())
        return
    table = Table("part", "state", "address", "pids", box=None)
    for name, part in found.services.items():
        style = "green" if part.state in _GOOD else "dim" if part.state == "stopped" else "yellow"
        pids = " ".join(map(str, part.pids))
        table.add_row(name, f"[{style}]{part.state}[/]", part.address or "", pids)
    console = Console()
    console.print(table)
    typer.echo(f"logs in {home.logs}")
    for topic, count in found.lag.items():
        console.print(f"lag of {topic}: {'unknown' if count is None else count}", highlight=False)


def logs(
    service: Annotated[str | None, typer.Argument(help=f"One of {', '.join(ALL_PARTS)}; all if left out.")] = None,
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="Last lines to show of each log.")] = 50,
) -> None:
    """Show the parts' logs.

    Example: `habitus logs streams -n 100 -f`
    """
    from habitus.stack import logfiles

    names = ALL_PARTS if service is None else _parts(service)
    home = _home()
    files = {name: home.logs / f"{name}.log" for name in names}
    if not follow and not any(file.exists() for file in files.values()):
        raise HabitusError(f"there is no log in {home.logs}", remedy="`habitus up` starts the stack")
    for line in _with_news(logfiles.last_lines(files, lines), logfiles.follow(files) if follow else iter(())):
        typer.echo(line.text if service else f"{line.part:<9} | {line.text}")


def doctor(*, as_json: AsJson = False) -> None:
    """Check Python, Java, Redis, ports, disk, settings and data, and say what to do about what is wrong.

    Exits 1 if something is wrong that keeps the stack from running. Example: `habitus doctor`
    """
    from habitus.stack.doctor import examine

    findings = examine(_home())
    healthy = all(each.ok or not each.required for each in findings)
    if as_json:
        _print_json({"ok": healthy, "findings": [asdict(each) for each in findings]})
    else:
        for each in findings:
            mark = "[green]ok[/]  " if each.ok else "[red]FAIL[/]" if each.required else "[yellow]note[/]"
            Console(soft_wrap=True).print(f"{mark} {each.check}: {each.detail}", highlight=False)
            if not each.ok:
                typer.echo(f"     remedy: {each.remedy}")
    if not healthy:
        raise typer.Exit(1)


def _home() -> Any:
    from habitus.stack.home import Home

    return Home.at(default_home())


def _parts(named: str) -> tuple[str, ...]:
    """The parts that a comma-separated list names; wrong usage if one is unknown."""
    names = tuple(filter(None, (each.strip() for each in named.split(","))))
    if unknown := [name for name in names if name not in ALL_PARTS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: choose from {', '.join(ALL_PARTS)}")
    return names


def _shown(address: str) -> str:
    from habitus.stack.status import without_credentials

    return without_credentials(address)


def _with_news(old: Iterator[Any], new: Iterator[Any]) -> Iterator[Any]:
    yield from old
    yield from new


def _print_json(value: dict[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2))


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM and SIGHUP end the command as Ctrl-C does: in order, with nothing left behind."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    before = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
