"""`habitus dlq ls|show`: what was rejected, and why."""

import base64
import json
from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from streams.dead_letters import DeadLetterRead

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_SHOWN_CHARACTERS = 80

dlq = typer.Typer(help="Dead letters: messages that were rejected, with the reason.", no_args_is_help=True)


class Source(StrEnum):
    """A topic whose rejected messages are kept."""

    records = "person.records"
    labels = "person.labels"
    predictions = "predictions"


SourceOption = Annotated[Source, typer.Option("--topic", help="The topic that the messages were sent to.")]


def register(app: typer.Typer) -> None:
    """Add the family of commands to `app`."""
    app.add_typer(dlq, name="dlq", rich_help_panel="Checks")


@dlq.command()
def ls(
    topic: SourceOption = Source.records,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest N.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last, and how many there are by class of error.

    Example: `habitus dlq ls --topic person.labels --limit 10`
    """
    letters = _read(topic)
    by_class = Counter(each.error_class for each in letters)
    if as_json:
        found = [_as_object(each) for each in letters[-limit:]]
        typer.echo(json.dumps({"total": len(letters), "by_class": by_class, "dead_letters": found}))
        return
    table = Table("letter", "source", "class", "reason", "fields", title=f"{len(letters)} dead letters of {topic.value}")
    for each in letters[-limit:]:
        source = f"{each.source}@{each.source_offset}"
        table.add_row(str(each.offset), source, each.error_class, _short(each.reason), _short(", ".join(each.failed_fields)))
    Console().print(table)


@dlq.command()
def show(
    letter: Annotated[int, typer.Argument(min=0, help="The letter's number, as `habitus dlq ls` shows it.")],
    topic: SourceOption = Source.records,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: where it stood, why it was rejected, its key and value.

    Example: `habitus dlq show 0`
    """
    from runtime.errors import HabitusError

    found = next((each for each in _read(topic) if each.offset == letter), None)
    if found is None:
        raise HabitusError(f"{topic.value} has no dead letter {letter}", remedy="`habitus dlq ls` lists them")
    if as_json:
        typer.echo(json.dumps(_as_object(found)))
        return
    table = Table(show_header=False, box=None)
    for name, value in _as_object(found).items():
        table.add_row(name, value if isinstance(value, str) else json.dumps(value))
    Console().print(table, markup=False)


def _read(topic: Source) -> list["DeadLetterRead"]:
    from runtime.settings import Settings
    from runtime.topics import Topics
    from streams.adapters.kafka import read_dead_letters

    settings = Settings()
    topics = Topics(settings)
    names = {Source.records: topics.records.name, Source.labels: topics.labels.name, Source.predictions: topics.predictions.name}
    return list(read_dead_letters(settings, names[topic]))


def _as_object(letter: "DeadLetterRead") -> dict[str, Any]:
    return {
        "letter": letter.offset,
        "source_topic": letter.source.topic,
        "source_partition": letter.source.partition,
        "source_offset": letter.source_offset,
        "error_class": letter.error_class,
        "reason": letter.reason,
        "failed_fields": list(letter.failed_fields),
        "app_version": letter.app_version,
        "failed_at": letter.failed_at,
        "key": _text(letter.key),
        "value": _text(letter.value),
    }


def _text(data: bytes | None) -> str | None:
    """Bytes as text; what is no UTF-8 as `base64:...`."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data or b'').decode()}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
