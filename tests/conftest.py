"""Real servers for the tests, and settings that point at them.

Kafka, Redis and MLflow start when the first test asks for them, once a session, through the same `habitus.stack` that
`habitus up` uses, or in containers (`containers.py`). They end with the session, also if it is killed.
"""

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

# Before Feast, whose import keeps every metric of the process, of whatever registry, in one file by its name.
import prometheus_client  # noqa: F401
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from habitus.stack.ports import USUAL
from runtime.settings import Settings
from tests import containers

S = TypeVar("S", bound=Settings)
SettingsFor = Callable[..., Settings]

_KEPT = {"HABITUS_CACHE", "HABITUS_DATA", "HABITUS_TEST_CONTAINERS"}
_FOLDER_MARKS = {"integration": "integration", "e2e": "e2e"}


# On a busy machine nothing about the time of an example says anything about the code.
hypothesis_settings.register_profile("habitus", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("habitus")


def pytest_configure() -> None:
    """No test may reach the developer's own stack: his addresses are not the tests' defaults."""
    for name in [each for each in os.environ if each.startswith("HABITUS_") and each not in _KEPT]:
        del os.environ[name]
    os.environ["HABITUS_HOME"] = str(Path(tempfile.gettempdir()) / "habitus-tests-use-no-default-home")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test below `integration/` or `e2e/` carries that mark."""
    for item in items:
        for folder in _FOLDER_MARKS.keys() & set(item.path.parts):
            item.add_marker(_FOLDER_MARKS[folder])


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A stack on free ports, with nothing started yet."""
    folder = Path(tempfile.mkdtemp(prefix="habitus-tests-"))
    session = Stack(Home.at(folder / "home"), usual=dict.fromkeys(USUAL, 0), tied=True)
    yield session
    session.down()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def kafka_bootstrap(stack: Stack) -> Iterator[str]:
    """host:port of a Kafka that runs for the whole session."""
    if containers.wanted():
        with containers.kafka() as address:
            yield address
    else:
        yield stack.up(["kafka"]).addresses["kafka"]


@pytest.fixture(scope="session")
def redis_url(stack: Stack) -> Iterator[str]:
    """URL of a Redis that runs for the whole session."""
    if containers.wanted():
        with containers.redis() as address:
            yield address
    else:
        yield stack.up(["redis"]).addresses["redis"]


@pytest.fixture(scope="session")
def mlflow_uri(stack: Stack) -> str:
    """URI of an MLflow server that runs for the whole session. Its first start takes about fifteen seconds."""
    return stack.up(["mlflow"]).addresses["mlflow"]


@pytest.fixture
def settings_for(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., S]:
    """A function that makes settings: `settings_for(SettingsClass, **overrides)`.

    Topics, consumer groups, online keys, history and registry are the test's own. A server is started only if the test
    itself asks for its fixture; the address of any other leads nowhere.
    """
    own = uuid.uuid4().hex[:8]

    def address(fixture: str, nowhere: str) -> str:
        return str(request.getfixturevalue(fixture)) if fixture in request.fixturenames else nowhere

    def make(cls: type[S], **overrides: object) -> S:
        values: dict[str, object] = {
            "kafka_bootstrap": address("kafka_bootstrap", "127.0.0.1:1"),
            "redis_url": address("redis_url", "redis://127.0.0.1:1/0"),
            "mlflow_uri": address("mlflow_uri", "http://127.0.0.1:1"),
            "topic_prefix": f"t{own}.",
            "project": f"t{own}",
            "home": tmp_path / "home",
            "offline_uri": str(tmp_path / "offline"),
            "registry_uri": f"sqlite:///{tmp_path / 'registry.db'}",
        }
        return cls(**(values | overrides))

    return make
