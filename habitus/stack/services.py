"""Our four services as parts, and what must exist before they start: topics and Feast's definitions."""

import os
import sys

from habitus.stack.endpoints import Endpoints
from habitus.stack.home import Home
from habitus.stack.parts import Part, always
from habitus.stack.ports import answers
from runtime.kafka import ensure_topics
from runtime.settings import Settings
from runtime.topics import Topics

_RETRIES = 5  # with supervisord's backoff, a second more each time: about 15 s and the time of six starts
_STAYS_UP_S = 3  # a wrong setting or a missing package shows within this time


def part(name: str, home: Home, endpoints: Endpoints) -> Part:
    """The service `name` as a process: the user's settings, and the stack's addresses over them."""
    address = endpoints.addresses.get(name)
    inherited = {variable: value for variable, value in os.environ.items() if variable.startswith("HABITUS_")}
    return Part(
        name=name,
        argv=(sys.executable, "-m", name),
        env={**inherited, **endpoints.environment, "HABITUS_HOME": str(home.root), "PYTHONUNBUFFERED": "1"},
        address=address,
        answers=always if address is None else lambda: answers(int(address.rpartition(":")[2])),
        stays_up_s=_STAYS_UP_S,
        retries=_RETRIES,
    )


def create_topics(settings: Settings) -> None:
    """Create the topics that are missing. Raises `Unavailable` if Kafka does not answer."""
    ensure_topics(settings, Topics(settings).all())


def apply_definitions(settings: Settings) -> None:
    """Write Feast's definitions into the registry."""
    from feature_repo import store

    store.apply_definitions(settings)
