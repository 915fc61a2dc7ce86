"""Waiting for an effect: polling with a deadline, never sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

from habitus.demo.narrator import Narrator
from runtime.errors import HabitusError, Unavailable

T = TypeVar("T")

_POLL_S = 0.25


def until(narrator: Narrator, what: str, look: Callable[[], T | None], *, deadline_s: float) -> T:
    """As `poll`, saying live what is waited for."""
    narrator.wait(f"waiting for {what}")
    return poll(look, what=what, deadline_s=deadline_s)


def poll(look: Callable[[], T | None], *, what: str, deadline_s: float) -> T:
    """What `look` returns as soon as that is neither None nor False; a part that is `Unavailable` is waited for too.

    Raises `HabitusError`, saying what did not come, after `deadline_s` seconds.
    """
    ends = time.monotonic() + deadline_s
    problem = ""
    while time.monotonic() < ends:
        try:
            found = look()
        except Unavailable as error:
            problem = f" ({error})"
        else:
            if found:
                return found
        time.sleep(_POLL_S)
    raise HabitusError(f"waited {deadline_s:.0f} s for {what}, in vain{problem}", remedy="see `habitus logs`")
