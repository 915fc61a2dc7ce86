"""The models in memory: each version once, whatever aliases it holds, and for a time after no alias needs it any more.

Place in the flow: `shelf` asks for the version behind an alias and tells which versions are needed. A rollback finds its model
here and loads nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from predictor.model import ServedModel
from runtime.clock import Clock
from runtime.registry import ModelVersion

MOST_LINGERING = 2  # models that nothing needs: enough for a rollback, and memory is bounded however often models change

Identity = tuple[str, str, datetime]


def identity(version: ModelVersion) -> Identity:
    """What makes a registered version one: a registry made anew counts its versions from 1 again."""
    return version.version, version.source, version.created_at


@dataclass
class _Warm:
    model: ServedModel
    needed_at: datetime


class WarmModels:
    """Models by version. Of those that nothing needs, the `MOST_LINGERING` last needed stay, for `linger` at most."""

    def __init__(self, load: Callable[[ModelVersion], ServedModel], clock: Clock, linger: timedelta) -> None:
        self._load = load
        self._clock = clock
        self._linger = linger
        self._models: dict[Identity, _Warm] = {}

    async def get(self, version: ModelVersion) -> ServedModel:
        """The model of `version`, from memory or else loaded in a thread. Raises what loading raises."""
        found = self._models.get(identity(version))
        if found is None:
            model = await asyncio.to_thread(self._load, version)
            found = self._models[identity(version)] = _Warm(model, self._clock.now())
        return found.model

    def keep(self, needed: Iterable[ModelVersion]) -> None:
        """Note that `needed` are needed now, and forget others as their time comes."""
        now, wanted = self._clock.now(), {identity(version) for version in needed}
        for each in wanted:
            self._models[each].needed_at = now
        unneeded = [each for each, warm in self._models.items() if each not in wanted and now - warm.needed_at <= self._linger]
        unneeded.sort(key=lambda each: self._models[each].needed_at)
        staying = wanted.union(unneeded[-MOST_LINGERING:])
        self._models = {each: warm for each, warm in self._models.items() if each in staying}
