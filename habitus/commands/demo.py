"""`habitus demo`: the whole story on a real stack of its own."""

import os
import sys
from typing import Annotated

import typer
from loguru import logger
from rich.console import Console

from runtime.settings import default_home

_LOG_WIDTH = 120  # columns where nobody's terminal says how many there are


def register(app: typer.Typer) -> None:
    """Add `demo` to `app`."""
    app.command(rich_help_panel="Local stack")(demo)


def demo(
    keep: Annotated[
        bool | None, typer.Option("--keep/--stop", help="Leave the stack running at the end; default only on a terminal.")
    ] = None,
) -> None:
    """Tell the whole story: records to features, a model, predictions, bad records, drift, a retrained model.

    Works on a fresh stack in a home of its own (`<home>/demo`, emptied first) and ignores addresses of other servers. Exit
    code 0 only if every verification held.

    Example: `habitus demo`, or `habitus demo --keep`
    """
    from habitus.demo.story import HOME_NAME, tell
    from habitus.stack.endpoints import VARIABLES

    home = default_home() / HOME_NAME
    # The story is verified by counting, so it needs servers that nobody else uses.
    for variable, _ in VARIABLES.values():
        os.environ.pop(variable, None)
    os.environ["HABITUS_HOME"] = str(home)
    # What the libraries and our own code log belongs to the parts' logs, not into the story.
    logger.remove()
    console = Console(width=None if sys.stdout.isatty() else _LOG_WIDTH)
    held = tell(home, console, keep=sys.stdout.isatty() if keep is None else keep)
    raise typer.Exit(0 if held else 1)
