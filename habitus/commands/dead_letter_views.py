"""How dead letters and what became of their replay look: as tables of 80 columns, and as JSON."""

import base64
import json
from collections import deque
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from streams.letters.dead_letters import DeadLetterRead
    from streams.letters.replay import Outcome, Summary
    from streams.letters.selection import Count

_SHOWN_CHARACTERS = 160  # of a reason or a value, in a table
_SHOWN_KINDS = 8


class Told:
    """Remembers of the outcomes what is shown."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.sent: list[Outcome] = []
        self.invalid: list[Outcome] = []

    def hear(self, outcome: "Outcome") -> None:
        """Keep `outcome` if it is among the first ones that were sent or refused."""
        kept = self.sent if outcome.message else self.invalid
        if len(kept) < self._limit and (outcome.message or outcome.error):
            kept.append(outcome)

    def as_object(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "messages": [sent_object(each) for each in self.sent],
            "still_invalid": [refused_object(each) for each in self.invalid],
        }


def as_object(letter: "DeadLetterRead") -> dict[str, Any]:
    """The letter for `--json`; scripts rely on the keys."""
    origin = letter.origin
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
        "source_timestamp_ms": letter.source_timestamp_ms,
        "tries": origin.attempt,
        "origin": {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset},
        "headers": {name: _text(value) for name, value in letter.headers},
    }


def _text(data: bytes | None) -> str | None:
    """Bytes as text; what is no UTF-8 as `base64:...`."""
    from streams.letters.corrections import BASE64

    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return f"{BASE64}{base64.b64encode(data or b'').decode()}"


def listing(letters: "deque[DeadLetterRead]", count: "Count", topic: str) -> Table:
    """The newest letters, a row each, readable in 80 columns."""
    table = Table(title=f"{count.total:,} dead letters of {topic}", box=SIMPLE)
    for heading in ("letter", "source", "tries"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("class", no_wrap=True)
    table.add_column("reason", overflow="fold")  # it names the fields
    for each in letters:
        source = f"[{each.source.partition}]@{each.source_offset}"
        cells = (str(each.offset), source, str(each.origin.attempt), each.error_class, each.reason)
        table.add_row(*(Text(_short(cell)) for cell in cells))
    return table


def tell_kinds(count: "Count") -> None:
    """Print how many letters there are by class and by field, the most frequent ones first."""
    for what, counted in (("class", count.by_class), ("field", count.by_field)):
        if counted:
            told = ", ".join(f"{name or 'none'} {times:,}" for name, times in counted.most_common(_SHOWN_KINDS))
            others = len(counted) - _SHOWN_KINDS
            Console().print(f"by {what}: {told}" + (f" and {others} others" if others > 0 else ""), markup=False, highlight=False)


def card(told: dict[str, Any]) -> Table:
    """One letter whole, a row a header."""
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in told.items():
        table.add_row(name, Text(value if isinstance(value, str) else json.dumps(value)))
    return table


def sent_object(outcome: "Outcome") -> dict[str, Any]:
    """A message that was sent, or would be."""
    assert outcome.message is not None
    message = outcome.message
    return {
        "letter": outcome.letter.offset,
        "partition": message.shard.partition,
        "tries": outcome.letter.origin.next.attempt,
        "key": _text(message.key),
        "value": _text(message.value),
        "forced": outcome.error is not None,
    }


def refused_object(outcome: "Outcome") -> dict[str, Any]:
    """A letter that is still invalid."""
    assert outcome.error is not None
    error = outcome.error
    return {"letter": outcome.letter.offset, "reason": error.reason, "failed_fields": list(error.failed_fields)}


def tell_outcome(told: Told, summary: "Summary", topic: str, *, dry_run: bool) -> None:
    """Print what became of the letters, and what to do about the others."""
    console = Console(highlight=False)
    if dry_run and told.sent:
        console.print(_planned(told, topic))
    for refused in map(refused_object, told.invalid):
        console.print(Text(f"letter {refused['letter']} is still invalid: {refused['reason']}"))
    more = summary.invalid - len(told.invalid)
    if more:
        console.print(f"... and {more:,} more")
    verb = "would be sent" if dry_run else "sent"
    console.print(
        f"{summary.sent:,} of {summary.selected:,} letters {verb}, {summary.already_sent:,} were sent before, "
        f"{summary.invalid:,} are still invalid"
    )
    if summary.invalid:
        ways = "--set FIELD=VALUE, --drop, --rename, or --from FILE; where the value cannot be read, --from FILE alone"
        console.print(f"correct them: {ways}; --force sends them as they are")
    if summary.already_sent:
        console.print("--again sends what was sent before once more")


def _planned(told: Told, topic: str) -> Table:
    table = Table(title=f"what would be sent to {topic}", box=SIMPLE)
    for heading in ("letter", "partition", "key"):
        table.add_column(heading, no_wrap=True, justify="right")
    table.add_column("value", overflow="fold")
    for each in map(sent_object, told.sent):
        table.add_row(*(Text(_short(str(each[name]))) for name in ("letter", "partition", "key", "value")))
    return table


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
