"""`habitus token new`: a bearer token for a client of the predictor."""

import json
from typing import Annotated

import typer

tokens = typer.Typer(help="Bearer tokens of the predictor's clients.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `token` to `app`."""
    app.add_typer(tokens, name="token")


@tokens.callback()
def _group() -> None:
    """Bearer tokens of the predictor's clients."""


@tokens.command()
def new(
    name: Annotated[str, typer.Argument(help="Whose token it is: 1 to 64 letters, digits or _.-")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object: name, token, line.")] = False,
) -> None:
    """Make a token, show it once, and tell the line to store; nothing is stored here.

    Example: habitus token new reporting
    """
    from predictor.protection.tokens import line_of, new_token

    token = new_token()
    line = line_of(name, token)
    if as_json:
        typer.echo(json.dumps({"name": name, "token": token, "line": line}))
        return
    typer.echo(f"token  {token}")
    typer.echo(f"line   {line}")
    typer.echo("Give the token to the client, which sends `authorization: Bearer TOKEN`; it is not shown again.", err=True)
    typer.echo("Add the line to the file that HABITUS_PREDICTOR_TOKENS_FILE names; it counts within a second.", err=True)
