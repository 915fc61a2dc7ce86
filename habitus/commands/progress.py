"""What a start looks like: a live list of what is being waited for on a terminal, one line a change elsewhere."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

_SETTLED = {"ready": "[green]ready[/]", "failed": "[red]failed[/]"}


class PartsDisplay:
    """Shows how far each part is; `tell` is called with the part's name and its progress."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._progress: dict[str, str] = {}
        self._settled_s: dict[str, float] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._live:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the last picture standing."""
        if self._live:
            self._live.stop()

    def tell(self, part: str, progress: str) -> None:
        """Show `progress` of `part`."""
        if self._progress.get(part) == progress:
            return
        self._progress[part] = progress
        if progress in _SETTLED:
            self._settled_s[part] = time.monotonic() - self._started
        if self._live:
            self._live.update(self._table())
        else:
            self._console.print(f"{time.monotonic() - self._started:6.1f} s  {part}: {progress}", highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for part, progress in self._progress.items():
            if progress in _SETTLED:
                table.add_row(part, f"{_SETTLED[progress]} after {self._settled_s[part]:.1f} s")
            else:
                table.add_row(part, Spinner("dots", Text(progress)))
        return table
