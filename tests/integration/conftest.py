"""The stage that tests of the stream share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streams.settings import StreamsSettings
from tests.scene import Scene, staged


@pytest.fixture
def scene(kafka_bootstrap: str, redis_url: str, settings_for: Callable[..., StreamsSettings], tmp_path: Path) -> Iterator[Scene]:
    """Topics and stores of this test, no worker yet."""
    with staged(settings_for(StreamsSettings, partitions=2), tmp_path / "worker.log") as made:
        yield made
