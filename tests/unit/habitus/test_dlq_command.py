"""`habitus dlq` at the command line: mistakes are answered with what is right, before Kafka is asked, and tables fit."""

from collections import deque
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from habitus.cli import app
from habitus.commands.dead_letter_views import Told, card, listing, tell_kinds, tell_outcome
from habitus.commands.dlq import _time
from runtime.errors import RecordRejected, Violation
from streams.letters.dead_letters import DeadLetterRead, Rejected, dead_letter
from streams.letters.replay import Outcome, Summary
from streams.letters.selection import Count
from streams.messages import Message, Shard

NOWHERE = {"HABITUS_KAFKA_BOOTSTRAP": "127.0.0.1:1"}


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["dlq", *arguments], env=NOWHERE)


def letter(reason: str = "Input should be greater than or equal to 5") -> DeadLetterRead:
    violations = tuple(Violation(name, reason) for name in ("family_history_overweight", "physical_activity_frequency"))
    message = Message(Shard("person.records", 3), 12_345_678, 0, b"ann", b'{"[bold]": "' + b"x" * 300 + b'"}')
    made = dead_letter(Rejected(message, RecordRejected("invalid_record", violations)), "1.0", datetime.now(UTC))
    return DeadLetterRead.of(1_234_567, made.key, made.value, made.headers)


@pytest.mark.parametrize("arguments", [("show",), ("replay",), ("replay", "--set", "a=1"), ("replay", "--dry-run")])
def test_who_names_no_letters_is_told_how(arguments: tuple[str, ...]) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert "name letters" in done.output


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (("ls", "--since", "yesterday"), "write 2h"),
        (("ls", "--until", "2024-05-01T12:00:00"), "has no zone"),
        (("ls", "--topic", "person.features"), "person.records"),
        (("replay", "7", "--set", "weight_kg"), "weight_kg=61.5"),
        (("replay", "7", "--rename", "mass"), "mass=weight_kg"),
        (("replay", "--from", "not-there.jsonl"), "does not exist"),
    ],
)
def test_a_wrong_option_is_answered_with_what_is_right(arguments: tuple[str, ...], advice: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert advice in " ".join(done.output.replace("│", " ").split())


def test_a_wrong_line_of_a_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "letters.jsonl"
    file.write_text('{"letter": 7, "value": {}}\n{"letter": 8}\n')
    done = run("replay", "--from", str(file))
    assert (done.exit_code, "line 2" in done.output) == (2, True)


@pytest.mark.parametrize("command", ["ls", "show", "replay"])
def test_each_command_has_an_example(command: str) -> None:
    done = run(command, "--help")
    assert (done.exit_code, f"Example: habitus dlq {command}" in done.output) == (0, True)


def test_a_time_is_a_moment_or_so_long_ago() -> None:
    assert _time(None) is None
    assert _time("2024-05-01T12:00:00Z") == datetime(2024, 5, 1, 12, tzinfo=UTC)
    ago = _time("2h")
    assert ago is not None
    assert abs(datetime.now(UTC) - timedelta(hours=2) - ago) < timedelta(seconds=10)
    with pytest.raises(typer.BadParameter, match="2h"):
        _time("2 hours")


def test_the_list_is_readable_in_80_columns() -> None:
    """Promise: numbers are whole, words are not cut to one letter a line, a long reason is shortened."""
    count = Count()
    count.add(letter())
    console = Console(width=80, record=True)
    console.print(listing(deque([letter("x y " * 500)]), count, "person.records"))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) < 15
    assert any("1234567" in line and "[3]@12345678" in line for line in lines)
    assert any("invalid_record" in line and "family_history_overweight" in line for line in lines)


def test_a_letters_brackets_are_shown_and_not_read_as_style() -> None:
    console = Console(width=80, record=True)
    console.print(card({"letter": 1, "value": '{"[bold]": 1}', "reason": "[/]"}))
    assert "[bold]" in console.export_text()


def test_kinds_beyond_the_most_frequent_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    count = Count()
    count.add(letter())
    count.by_class.update({f"class_{number}": 1 for number in range(9)})
    tell_kinds(count)
    assert "and 2 others" in capsys.readouterr().out


def test_what_is_still_invalid_is_told_with_its_field_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    told = Told(limit=1)
    error = RecordRejected("invalid_record", (Violation("weight_kg", "[too] low"),))
    for _ in range(3):
        told.hear(Outcome(letter(), error=error))
    tell_outcome(told, Summary(selected=5, sent=1, already_sent=1, invalid=3), "person.records", dry_run=False)
    printed = capsys.readouterr().out
    assert "letter 1234567 is still invalid: weight_kg: [too] low" in " ".join(printed.split())
    for part in ("... and 2 more", "1 of 5 letters sent", "--set FIELD=VALUE", "--again"):
        assert part in printed
