"""The command line: every command is registered here, and here alone errors become exit codes.

Exit codes: 0 done, 1 an expected failure or a check that did not hold, 2 wrong usage or setting, 130 interrupted.
"""

import sys
from types import ModuleType

import typer
from pydantic import ValidationError

from habitus.commands import (
    backfill,
    data,
    demo,
    dlq,
    drift,
    evaluate,
    models,
    predict,
    replay,
    report,
    stack,
    token,
    train,
    verify,
)
from runtime.errors import HabitusError
from runtime.logs import hush_warnings

# Each has `register(app)`; the order here is the order in `habitus --help`.
COMMANDS: tuple[ModuleType, ...] = (
    stack,
    demo,
    data,
    replay,
    train,
    models,
    verify,
    dlq,
    backfill,
    predict,
    token,
    evaluate,
    drift,
    report,
)

FAILED, WRONG_USAGE, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="habitus",
    help="Feature-store-centric, event-driven estimation of obesity levels: the local stack, data, models and reports.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for command in COMMANDS:
    command.register(app)


def main() -> None:
    """Run the command that `sys.argv` names and exit with its code; an expected failure says what to do next."""
    hush_warnings()
    try:
        app()
    except HabitusError as error:
        complain(str(error), error.remedy)
        sys.exit(FAILED)
    except ValidationError as error:
        complain(*wrong_settings(error))
        sys.exit(WRONG_USAGE)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def complain(message: str, remedy: str = "") -> None:
    """Say on standard error what went wrong and, where known, what to do."""
    typer.echo(f"error: {message}", err=True)
    if remedy:
        typer.echo(f"remedy: {remedy}", err=True)


def wrong_settings(error: ValidationError) -> tuple[str, str]:
    """What is wrong with which `HABITUS_` variable, and the remedy. Never shows a value: it may be a secret."""
    problems = error.errors(include_input=False, include_url=False)
    wrong = {f"HABITUS_{str(each['loc'][0]).upper()}" if each["loc"] else error.title: each["msg"] for each in problems}
    sentences = "; ".join(f"{name}: {problem}" for name, problem in wrong.items())
    return sentences, f"correct {', '.join(wrong)} in the environment; `habitus doctor` checks all settings"
