"""Our four services as parts, and what must exist before they start: topics and Feast's definitions."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from habitus.stack.endpoints import Endpoints, port_of
from habitus.stack.home import Home
from habitus.stack.parts import Part, always
from runtime.kafka import ensure_topics
from runtime.liveness import is_consuming
from runtime.settings import Settings
from runtime.topics import Topics

_PATHS = (
    *("HABITUS_OFFLINE_URI", "HABITUS_DATA", "HABITUS_CACHE"),
    *("HABITUS_KAFKA_SSL_CAFILE", "HABITUS_KAFKA_SSL_CERTFILE", "HABITUS_KAFKA_SSL_KEYFILE"),
)
_RETRIES = 5  # with supervisord's backoff, a second more each time: about 15 s and the time of six starts
_STAYS_UP_S = 3  # a wrong setting or a missing package shows within this time


def part(name: str, home: Home, endpoints: Endpoints, settings: Settings) -> Part:
    """The service `name` as a process: the user's settings, and the stack's addresses over them."""
    address = endpoints.addresses.get(name)
    return Part(
        name=name,
        argv=(sys.executable, "-m", name),
        env={**inherited(os.environ), **endpoints.environment, "HABITUS_HOME": str(home.root), "PYTHONUNBUFFERED": "1"},
        address=address,
        port=None if address is None else port_of(address),
        answers=(lambda: is_consuming(settings, name)) if name == "streams" else always,
        stays_up_s=_STAYS_UP_S,
        retries=_RETRIES,
    )


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's settings as a process in another folder must see them: paths made absolute."""
    settings = {name: value for name, value in environ.items() if name.startswith("HABITUS_")}
    paths = {name: settings[name] for name in _PATHS if settings.get(name) and "://" not in settings[name]}
    return settings | {name: str(Path(path).expanduser().absolute()) for name, path in paths.items()}


def create_topics(settings: Settings) -> None:
    """Create the topics that are missing. Raises `Unavailable` if Kafka does not answer."""
    ensure_topics(settings, Topics(settings).all())


def apply_definitions(settings: Settings) -> None:
    """Write Feast's definitions into the registry."""
    from feature_repo import store

    store.apply_definitions(settings)
