"""Promises about waiting for parts, kept on a supervisor that is told what to say."""

from collections.abc import Iterator

import pytest

from habitus.stack.parts import Part
from habitus.stack.readiness import await_ready
from habitus.stack.supervision import ProcessInfo
from runtime.errors import HabitusError


class Scripted:
    """A supervisor whose parts go through given states, one a look; the last one stays."""

    def __init__(self, **states: str) -> None:
        self._states = {name: iter(told.split()) for name, told in states.items()}
        self._now: dict[str, str] = {}

    def states(self) -> dict[str, ProcessInfo]:
        """What is told at this look."""
        self._now = {name: next(left, self._now.get(name, "")) for name, left in self._states.items()}
        return {name: ProcessInfo(name, state, 1) for name, state in self._now.items()}


def test_a_part_is_ready_once_it_runs_and_answers() -> None:
    answers: Iterator[bool] = iter([False, True])
    told: list[tuple[str, str]] = []
    part = Part("kafka", ("x",), address="127.0.0.1:1", answers=lambda: next(answers))
    await_ready(Scripted(kafka="starting running"), [part], lambda *each: told.append(each))
    assert told == [("kafka", "waiting for 127.0.0.1:1")] * 2 + [("kafka", "ready")]


def test_a_failed_part_is_named_after_the_others_were_waited_for() -> None:
    told: dict[str, str] = {}
    parts = [Part("a", ("x",)), Part("b", ("x",))]
    with pytest.raises(HabitusError, match="not ready: a") as error:
        await_ready(Scripted(a="backoff fatal", b="starting starting running"), parts, told.__setitem__)
    assert told == {"a": "failed", "b": "ready"}
    assert "habitus logs a" in error.value.remedy


def test_patience_ends() -> None:
    with pytest.raises(HabitusError, match="not ready: a"):
        await_ready(Scripted(a="starting"), [Part("a", ("x",))], lambda *_: None, timeout_s=0)
