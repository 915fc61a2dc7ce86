"""Every test here is marked `soak`, and plays on the scene of the integration tests."""

from pathlib import Path

import pytest

from tests.integration.conftest import scene

__all__ = ["scene"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test in this folder carries the mark."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("soak")
