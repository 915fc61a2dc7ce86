"""`habitus backfill`: make the features of all records anew."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from loguru import logger
from rich.console import Console

from habitus.commands.replay import progress_bar

EXAMPLE = "Example: `habitus backfill --json`"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("backfill", epilog=EXAMPLE, rich_help_panel="Checks")(backfill)


def backfill(
    restart: Annotated[bool, typer.Option(help="Begin anew where an earlier backfill by other code was cut off.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make history and online store of the person records anew from the raw log, while the stream and all readers go on.

    For after a feature was added or a rule changed, or a topic was made anew. The result is a new epoch, which readers see
    when it is whole. Cut off and run again, it goes on where it was.
    """
    from feature_repo.online.rows import OnlineWriter, connect
    from feature_repo.store import apply_definitions
    from runtime.topics import Topics
    from streams.adapters.kafka import KafkaLog
    from streams.backfill import backfill as rebuild
    from streams.bootstrap import make_shelf
    from streams.settings import StreamsSettings

    settings = StreamsSettings()
    topic = Topics(settings).records.name
    KafkaLog(settings).partitions(topic)  # a worker would wait for what is not there; who typed a command is told
    OnlineWriter(connect(settings), settings.project).refuse_eviction()
    logger.remove()  # what it tells is for a service's log; here the bar and the last line tell
    logger.add(sys.stderr, level="WARNING", format="{message}")
    with progress_bar() as bar:
        task = bar.add_task(f"records of {topic}", total=None)
        try:
            done = rebuild(
                make_shelf(settings),
                topic,
                restart=restart,
                progress=lambda made, of: bar.update(task, completed=made, total=of),
                readers_moved=lambda: apply_definitions(settings),
            )
        except KeyboardInterrupt:
            typer.echo("cut off; run it again: it goes on where it was", err=True)
            raise
    if as_json:
        typer.echo(json.dumps(asdict(done)))
        return
    Console().print(
        f"epoch {done.epoch} is what readers read: {done.messages} messages made anew by this run, {done.accepted} accepted "
        f"({done.newly_accepted} only now), {done.rejected} rejected ({done.newly_rejected} only now), "
        f"{done.removed_persons} persons removed",
        soft_wrap=True,
    )
