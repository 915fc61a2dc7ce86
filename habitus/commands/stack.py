"""`habitus up`, `down`, `status`, `logs`, `doctor`: the local stack at the command line."""

import typer


def register(app: typer.Typer) -> None:
    """Add the commands of the local stack to `app`."""
