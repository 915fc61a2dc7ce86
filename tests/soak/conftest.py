"""Every test here is marked `soak`, and plays on the scene of the integration tests."""

from pathlib import Path

import pytest

from tests.integration.conftest import scene
from tests.soak.tables import GUARDS_TRIED
from tests.soak.telling import Tell

__all__ = ["scene"]


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Tell:
    """A function that writes a line to the terminal while the test runs."""
    terminal, capture = map(request.config.pluginmanager.get_plugin, ("terminalreporter", "capturemanager"))

    def write(text: str) -> None:
        with capture.global_and_fixture_disabled():
            terminal.ensure_newline()
            terminal.write_line(text)

    return write


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test in this folder carries the mark."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("soak")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of guards that were taken away, and who noticed."""
    rows = config.stash.get(GUARDS_TRIED, [])
    if not rows:
        return
    terminalreporter.section("guards taken away, one at a time")
    head = ("guard", "keeps from", "result", "noticed first by")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    for row in (head, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        terminalreporter.write_line("  ".join([*cells, row[-1]]))
