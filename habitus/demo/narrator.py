"""What people see of the demo: numbered steps with their times, verified claims, a summary, and the verdict.

Place in the flow: the steps tell it what they did and what they verified; the exit code is its verdict.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

_INDENT = "   "


@dataclass(frozen=True)
class Claim:
    """Something verified, or not: what was claimed, whether it held, and the figures that show it."""

    step: str
    text: str
    held: bool
    evidence: str


@dataclass
class Narrator:
    """Tells the story on `console`; on a terminal the current step shows live what it waits for."""

    console: Console
    claims: list[Claim] = field(default_factory=list)
    times_s: dict[str, float] = field(default_factory=dict)
    _step: str = ""
    _status: Status | None = None

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One numbered step; its time is kept even if it fails."""
        self._step = title
        self.console.print(f"[bold]{len(self.times_s) + 1}. {title}[/]", highlight=False)
        started = time.monotonic()
        try:
            if self.console.is_terminal:
                with self.console.status("", spinner="dots") as self._status:
                    yield
            else:
                yield
        finally:
            self._status = None
            self.times_s[title] = time.monotonic() - started
            self.console.print(f"{_INDENT}[dim]{self.times_s[title]:.1f} s[/]", highlight=False)

    def wait(self, what: str) -> None:
        """Say what is being waited for; only seen live."""
        if self._status is not None:
            self._status.update(f"{_INDENT}{what}")

    def say(self, text: str) -> None:
        """One sentence of the story."""
        self.console.print(f"{_INDENT}{text}", highlight=False, soft_wrap=True)

    def check(self, text: str, *, held: bool, evidence: str) -> None:
        """State whether a claim held, with its figures; one that did not decides the verdict."""
        self.claims.append(Claim(self._step, text, held, evidence))
        mark = "[green]✓[/]" if held else "[bold red]✗[/]"
        self.console.print(f"{_INDENT}{mark} {text}: {evidence}", highlight=False, soft_wrap=True)

    def show(self, table: Table) -> None:
        """A table, indented below its step."""
        self.console.print(table)

    @property
    def held(self) -> bool:
        """The verdict: something was verified, and all of it held."""
        return bool(self.claims) and all(claim.held for claim in self.claims)

    def summarise(self, addresses: Mapping[str, str | Path]) -> None:
        """The end: every claim, each step's time, where to look, and the verdict."""
        summary = Table(title="What was verified", title_justify="left", box=None, pad_edge=False)
        for column in ("", "claim", "evidence"):
            summary.add_column(column, overflow="fold")
        for claim in self.claims:
            summary.add_row("[green]✓[/]" if claim.held else "[bold red]✗[/]", claim.text, claim.evidence)
        times = Table(title="Time", title_justify="left", box=None, pad_edge=False, show_header=False)
        for title, seconds in self.times_s.items():
            times.add_row(f"{seconds:6.1f} s", title)
        times.add_row(f"[bold]{sum(self.times_s.values()):6.1f} s[/]", "[bold]in all[/]")
        places = Table(title="Where to look", title_justify="left", box=None, pad_edge=False, show_header=False)
        for name, address in addresses.items():
            places.add_row(name, str(address))
        for table in (summary, times, places):
            self.console.print()
            self.console.print(table)
        verdict = "[bold green]Every verification held.[/]" if self.held else "[bold red]Not every verification held.[/]"
        self.console.print(f"\n{verdict}")
