"""One module a command (or a family of commands), each with `register(app: typer.Typer) -> None`.

Heavy packages are imported inside the command's function, so that `habitus --help` stays quick.
"""
