"""Which model serves, asked of the registry; `model.events` only tells when to ask."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from feature_repo.reference import Reference
from monitor.champion import Champion
from runtime.errors import ModelRefused, Unavailable
from runtime.kafka import consumer
from runtime.registry import REFERENCE_FOLDER, Alias, Registry
from runtime.settings import Settings
from runtime.topics import Topics

_CLOSE_MS = 1_000


class Champions:
    """The version that holds `champion`, with its reference; files are kept in a folder of our own until `close`."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._folder = TemporaryDirectory(prefix="habitus-monitor-")
        self._latest: Champion | None = None

    def find(self) -> Champion | None:
        """The champion now, None if there is none; downloaded only if it is another one than last time.

        Raises `Unavailable` if the registry does not answer, `ModelRefused` if the champion carries no reference.
        """
        version = self._registry.by_alias(Alias.CHAMPION)
        if version is None:
            return None
        if self._latest is None or self._latest.version != version.version:
            folder = self._registry.download(version, Path(self._folder.name) / version.version) / REFERENCE_FOLDER
            self._latest = Champion(version.version, Reference.load(folder), folder)
        return self._latest

    def current(self) -> Champion:
        """The champion now; to be tried again: raises `Unavailable` for whatever keeps us from having one with a reference."""
        try:
            champion = self.find()
        except ModelRefused as error:
            raise Unavailable("champion", f"it carries no reference to compare with ({error})") from error
        if champion is None:
            raise Unavailable("champion", f"no version of {self._registry.name} is champion yet; train one: habitus train")
        return champion

    def close(self) -> None:
        """Delete the downloaded files."""
        self._folder.cleanup()


class ModelEvents:
    """Tells when a look at the registry is due: after a message on `model.events`, and every `every_s` seconds anyway."""

    def __init__(self, settings: Settings, every_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._consumer = consumer(settings, Topics(settings).model_events.name, auto_offset_reset="latest")
        self._every_s = every_s
        self._clock = clock
        self._looked_at = clock()

    def due(self) -> bool:
        """Whether the champion may have changed since this was last true."""
        woken = bool(self._consumer.poll(timeout_ms=0))
        if not woken and self._clock() - self._looked_at < self._every_s:
            return False
        self._looked_at = self._clock()
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close(timeout_ms=_CLOSE_MS)
