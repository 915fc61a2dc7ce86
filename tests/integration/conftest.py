"""The stage that tests of the stream share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.kafka import ensure_topics
from streams.settings import StreamsSettings
from tests.scene import STOPS_WITHIN_S, Scene


@pytest.fixture
def scene(kafka_bootstrap: str, redis_url: str, settings_for: Callable[..., StreamsSettings], tmp_path: Path) -> Iterator[Scene]:
    """Topics and stores of this test, no worker yet."""
    settings = settings_for(StreamsSettings, partitions=2)
    made = Scene(settings, tmp_path / "worker.log")
    made.log.touch()
    ensure_topics(settings, made.topics.all())
    yield made
    for worker in made.started:
        worker.kill()
        worker.wait(timeout=STOPS_WITHIN_S)
