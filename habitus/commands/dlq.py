"""`habitus dlq ls|show|replay`: what was rejected, why, and sending it again."""

import json
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import Progress

from habitus.commands.dead_letter_views import Told, as_object, card, listing, tell_kinds, tell_outcome
from habitus.commands.replay import duration, moment, progress_bar

if TYPE_CHECKING:
    from runtime.settings import Settings
    from streams.letters.corrections import Edit, Given
    from streams.letters.dead_letters import DeadLetterRead
    from streams.letters.replay import Rules
    from streams.letters.selection import Selection

_EXAMPLE_LS = "Example: `habitus dlq ls --class invalid_record --field weight_kg --since 2h`"
_EXAMPLE_SHOW = "Example: `habitus dlq show 7`, or `habitus dlq show --field weight_kg --json > letters.jsonl` to edit them"
_EXAMPLE_REPLAY = (
    "Example: `habitus dlq replay --class misrouted`, `habitus dlq replay 7 9 --set weight_kg=61.5`, "
    "`habitus dlq replay --from letters.jsonl --dry-run`"
)

dlq = typer.Typer(help="Dead letters: messages that were rejected, with the reason.", no_args_is_help=True)


class Source(StrEnum):
    """A topic whose rejected messages are kept."""

    records = "person.records"
    labels = "person.labels"
    predictions = "predictions"


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceOption = Annotated[Source, typer.Option("--topic", help="The topic that the messages were sent to.")]
ClassOption = Annotated[str | None, typer.Option("--class", help="Only this class of error, such as misrouted.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Only if the reason contains TEXT.")]
FieldOption = Annotated[str | None, typer.Option("--field", metavar="NAME", help="Only if the field NAME was violated.")]
SinceOption = Annotated[str | None, typer.Option("--since", help="Only rejected since: 2h (ago), or 2024-05-01T12:00:00Z.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Only rejected until: 30m (ago), or 2024-05-01T13:00:00Z.")]
Numbers = Annotated[list[int] | None, typer.Argument(min=0, metavar="LETTER", help="Numbers as `habitus dlq ls` shows them.")]


def register(app: typer.Typer) -> None:
    """Add the family of commands to `app`."""
    app.add_typer(dlq, name="dlq", rich_help_panel="Checks")


@dlq.command(epilog=_EXAMPLE_LS)
def ls(  # noqa: PLR0917  typer makes options of them
    topic: SourceOption = Source.records,
    error_class: ClassOption = None,
    reason: ReasonOption = None,
    field: FieldOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Show the newest N.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List dead letters, the newest last, and count them by class and by field: each rejected message once.

    `tries` is how often the record was sent: more than once if it was replayed and rejected again.
    """
    from streams.letters.selection import Copies, Count, distinct

    chosen = _selection(None, error_class, reason, field, since, until)
    copies, count, newest = Copies(), Count(), deque["DeadLetterRead"](maxlen=limit)
    with _letters(topic) as read:
        for letter in distinct(read(), chosen, copies):
            count.add(letter)
            newest.append(letter)
    if as_json:
        found = [as_object(each) | {"copies": copies.of(each)} for each in newest]
        counts = {"total": count.total, "by_class": count.by_class, "by_field": count.by_field}
        typer.echo(json.dumps(counts | {"dead_letters": found}))
        return
    Console().print(listing(newest, count, topic.value))
    tell_kinds(count)


@dlq.command(epilog=_EXAMPLE_SHOW)
def show(  # noqa: PLR0917  typer makes options of them
    letters: Numbers = None,
    topic: SourceOption = Source.records,
    error_class: ClassOption = None,
    reason: ReasonOption = None,
    field: FieldOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    as_json: AsJson = False,
) -> None:
    """Show dead letters whole: where each stood, why it was rejected, its key and value, how many copies of it there are.

    With --json one object a line, which `habitus dlq replay --from FILE` takes back after you edited the values.
    """
    chosen = _selection(letters, error_class, reason, field, since, until)
    if not _says_something(chosen):
        raise typer.BadParameter("name letters or a filter, such as `habitus dlq show 7` or `--class misrouted`")
    with _letters(topic) as read:
        _require_letters(read(), letters or [], topic)
        for told in _whole(read, chosen):
            if as_json:
                typer.echo(json.dumps(told))
            else:
                Console().print(card(told))


@dlq.command("replay", epilog=_EXAMPLE_REPLAY)
def replay_letters(  # noqa: PLR0917  typer makes options of them
    letters: Numbers = None,
    topic: SourceOption = Source.records,
    every: Annotated[bool, typer.Option("--all", help="Every letter of the topic.")] = False,
    error_class: ClassOption = None,
    reason: ReasonOption = None,
    field: FieldOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Set a field: a JSON value, else a string; repeatable."),
    ] = None,
    drop: Annotated[list[str] | None, typer.Option(metavar="FIELD", help="Leave a field out; repeatable.")] = None,
    rename: Annotated[list[str] | None, typer.Option(metavar="OLD=NEW", help="Rename a field; repeatable.")] = None,
    given: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", exists=True, dir_okay=False, help="Values as `show --json` prints them, edited."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Send also what is still invalid.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Send also what was replayed before.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show at most N letters.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Send letters again, corrected: renamed, dropped and set fields, in this order, or whole values of --from.

    Each is validated first by the stream's own rules; what is still invalid is not sent, is named, and makes the exit code 1.
    It goes to its person's partition with its headers and where it came from, stamped now; a record without an event time of its
    own keeps the time of its first message. What was replayed before is found in the topic and left out, so a replay that was
    cut off can be run again. Do not run two at the same time: they do not see each other.
    """
    from runtime.clock import SystemClock
    from streams.adapters.dead_letters import SourceTopic
    from streams.letters.replay import Orders, Replay

    name, rules = _place(topic)
    values = _values(given, name)
    chosen = _selection(letters, error_class, reason, field, since, until)
    if not (_says_something(chosen) or every or given):
        raise typer.BadParameter("name letters, a filter, --from FILE, or --all; `habitus dlq ls` lists them")
    orders = Orders(_edit(assign or [], drop or [], rename or []), values, force=force, again=again, dry_run=dry_run)
    told = Told(limit)
    with _letters(topic) as read, SourceTopic(_settings(), name, read.progress("replayed before?")) as source:
        summary = Replay(source, read, rules, SystemClock()).run(
            _of_the_file(chosen, values if given else None), orders, told.hear
        )
    if as_json:
        typer.echo(json.dumps(asdict(summary) | {"dry_run": dry_run} | told.as_object()))
    else:
        tell_outcome(told, summary, topic.value, dry_run=dry_run)
    raise typer.Exit(1 if summary.invalid else 0)


@dataclass(frozen=True)
class _Letters:
    """Reads a topic's dead letters, each time from the first one on."""

    settings: "Settings"
    topic: str
    bar: Progress

    def __call__(self) -> Generator["DeadLetterRead"]:
        from streams.adapters.dead_letters import read_dead_letters

        return read_dead_letters(self.settings, self.topic, self.progress("dead letters"))

    def progress(self, what: str) -> Callable[[int, int], object]:
        task = self.bar.add_task(what, total=None, visible=False)
        return lambda done, total: self.bar.update(task, completed=done, total=total, visible=done < total)


@contextmanager
def _letters(topic: Source) -> Iterator[_Letters]:
    with progress_bar() as bar:
        yield _Letters(_settings(), _place(topic)[0], bar)


def _settings() -> "Settings":
    from runtime.settings import Settings

    return Settings()


def _place(topic: Source) -> tuple[str, "Rules"]:
    """The topic's name here, and its rules."""
    from runtime.topics import Topics
    from streams.letters.replay import LABELS, PREDICTIONS, RECORDS

    topics = Topics(_settings())
    places = {
        Source.records: (topics.records, RECORDS),
        Source.labels: (topics.labels, LABELS),
        Source.predictions: (topics.predictions, PREDICTIONS),
    }
    found, rules = places[topic]
    return found.name, rules


def _selection(  # noqa: PLR0917  as the options come
    numbers: list[int] | None,
    error_class: str | None,
    reason: str | None,
    field: str | None,
    since: str | None,
    until: str | None,
) -> "Selection":
    from streams.letters.selection import Selection

    named = frozenset(numbers) if numbers else None
    return Selection(error_class, reason, field, _time(since), _time(until), named)


def _says_something(selection: "Selection") -> bool:
    return any(value is not None for value in vars(selection).values())


def _time(text: str | None) -> datetime | None:
    """The time of an RFC 3339 text, or so long ago as a text such as `2h` says."""
    if text is None:
        return None
    if "T" in text or ":" in text:
        return moment(text)
    try:
        return datetime.now(UTC) - duration(text)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2h, 30m, 7d (ago) or 2024-05-01T12:00:00Z") from error


def _edit(assign: list[str], drop: list[str], rename: list[str]) -> "Edit":
    from streams.letters.corrections import Edit, parse_assigned, parse_renamed

    try:
        return Edit(tuple(map(parse_renamed, rename)), tuple(drop), tuple(map(parse_assigned, assign)))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _values(file: Path | None, topic: str) -> dict[int, "Given"]:
    from streams.letters.corrections import parse_given

    if file is None:
        return {}
    try:
        with file.open(encoding="utf-8") as lines:
            return parse_given(lines, topic)
    except ValueError as error:
        raise typer.BadParameter(f"{file}: {error}") from error


def _of_the_file(selection: "Selection", values: dict[int, "Given"] | None) -> "Selection":
    """The letters that a file of values names, if there is one: of those the selected."""
    if values is None:
        return selection
    named = selection.numbers
    return replace(selection, numbers=frozenset(values) if named is None else named & frozenset(values))


def _require_letters(read: Iterator["DeadLetterRead"], numbers: list[int], topic: Source) -> None:
    from runtime.errors import HabitusError

    missing = set(numbers)
    if missing:
        missing.difference_update(each.offset for each in read)
    if missing:
        absent = ", ".join(map(str, sorted(missing)))
        raise HabitusError(f"{topic.value} has no dead letter {absent}", remedy="`habitus dlq ls` lists them")


def _whole(read: _Letters, chosen: "Selection") -> Iterator[dict[str, Any]]:
    """The chosen letters as objects; two passes, because a copy may come long after its letter."""
    from streams.letters.corrections import protobuf_fields
    from streams.letters.selection import Copies, distinct

    copies = Copies()
    for each in read():
        copies.is_first(each)
    for letter in distinct(read(), chosen, Copies()):
        fields = protobuf_fields(letter)
        yield as_object(letter) | {"copies": copies.of(letter)} | ({} if fields is None else {"fields": fields})
