"""What runs: the state, address, processes and log file of each part, and how far the stream is behind."""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import urlsplit

from dotenv import dotenv_values

from habitus.stack import mlflow, redis
from habitus.stack.endpoints import VARIABLES, external_addresses
from habitus.stack.home import Home
from habitus.stack.parts import ALL_PARTS, INFRASTRUCTURE
from habitus.stack.ports import LOCALHOST, is_listened_on_by
from habitus.stack.supervision import Supervisor
from habitus.stack.survivors import find
from runtime.errors import Unavailable
from runtime.kafka import lag
from runtime.settings import Settings
from runtime.topics import Topics

_ANSWERS: Mapping[str, Callable[[int], bool]] = {"redis": redis.pings, "mlflow": mlflow.healthy}


@dataclass(frozen=True)
class PartStatus:
    """One part: `state` is running, starting, backoff, stopping, stopped, fatal, orphaned (by its supervisor) or external."""

    state: str
    address: str | None
    pids: list[int]
    log: str


@dataclass(frozen=True)
class StackStatus:
    """All parts by name, and the unread messages by topic (None: unknown; empty: Kafka does not run)."""

    services: dict[str, PartStatus]
    lag: dict[str, int | None]

    def as_json(self) -> dict[str, Any]:
        """The object that `habitus status --json` prints."""
        return asdict(self)


def look(home: Home) -> StackStatus:
    """The status of the stack of `home`; changes nothing, also where there is no such folder."""
    settings = Settings(home=home.root)  # a wrong address is told as such, never shown
    external = external_addresses(home.remembered_ports(), _environment(home))
    states = {name: each.state for name, each in Supervisor(home).states().items()}
    processes = find(home.root)
    services = {name: _part(name, home, states, processes, external) for name in ALL_PARTS}
    kafka_answers = services["kafka"].state in {"running", "external"}
    return StackStatus(services, _lags(settings) if kafka_answers else {})


def _part(
    name: str, home: Home, states: Mapping[str, str], processes: Mapping[int, str], external: Mapping[str, str]
) -> PartStatus:
    log = str(home.logs / f"{name}.log")
    if name in external and name not in states:
        return PartStatus("external", without_credentials(external[name]), [], log)
    pids = sorted(pid for pid, part in processes.items() if part == name)
    port = home.remembered_ports().get(name)
    state = states.get(name, "orphaned" if pids else "stopped")
    if state == "running" and port is not None and not _is_up(name, port, pids):
        state = "starting"
    return PartStatus({"exited": "stopped"}.get(state, state), _address(name, port), pids, log)


def _is_up(name: str, port: int, pids: list[int]) -> bool:
    answers = _ANSWERS.get(name)
    return is_listened_on_by(port, pids) and (answers is None or answers(port))


def _address(name: str, port: int | None) -> str | None:
    if port is None:
        return None
    return f"http://{LOCALHOST}:{port}" if name == "mlflow" else f"{LOCALHOST}:{port}"


def _environment(home: Home) -> dict[str, str]:
    """The addresses as a process with this home sees them: the environment over `stack.env`."""
    written = {name: value for name, value in dotenv_values(home.stack_env).items() if value is not None}
    named = {VARIABLES[part][0] for part in INFRASTRUCTURE}
    return {name: value for name, value in (written | dict(os.environ)).items() if name in named}


def without_credentials(address: str) -> str:
    """`address` without user name and password, and without options, of which one may be a password too."""
    if "://" not in address:
        return address
    split = urlsplit(address)
    return split._replace(netloc=split.netloc.rpartition("@")[2], query="").geturl()


def _lags(settings: Settings) -> dict[str, int | None]:
    topics = Topics(settings)
    names = [topic.name for topic in (topics.records, topics.labels, topics.predictions)]
    return {name.removeprefix(settings.topic_prefix): _lag(settings, name) for name in names}


def _lag(settings: Settings, topic: str) -> int | None:
    try:
        return lag(settings, Topics(settings).streams_group, topic)
    except Unavailable:
        return None
