"""Which model serves under which alias. A new version is loaded and warmed before it takes the place of the old one.

Place in the flow: `keep_fresh` follows the registry, `handlers` asks `find` for every batch. The swap is one assignment on the
event loop and a request holds its `Serving` to the end, so no request fails or mixes versions over it.
"""

import asyncio
from contextlib import suppress
from typing import Protocol

from loguru import logger

from predictor.messages import Serving
from predictor.model import ServedModel
from runtime.errors import ModelRefused, Unavailable, UnknownModel
from runtime.registry import Alias, ModelVersion
from runtime.retry import pauses

_REMEMBERED_ABSENT = 1_000  # aliases known to be held by none, so that asking again costs nothing until the next refresh


class ModelSource(Protocol):
    """The registry and the local copies of its models. Methods block; every one may raise `Unavailable`."""

    def current(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias` now; None if none does."""
        ...

    def load(self, version: ModelVersion) -> ServedModel:
        """The version, checked and warm. Raises `ModelRefused`."""
        ...

    def keep(self, alias: str, version: ModelVersion) -> None:
        """Remember on disk that `version` served well as `alias`."""
        ...

    def last_good(self, alias: str) -> ServedModel | None:
        """The model last kept as `alias`, from local files alone; None if there is none."""
        ...


class Shelf:
    """The models that serve, by alias."""

    def __init__(self, source: ModelSource) -> None:
        self._source = source
        self._serving: dict[str, Serving] = {}
        self._loaded: dict[str, ModelVersion] = {}
        self._refused: dict[str, ModelVersion] = {}
        self._absent: set[str] = set()
        self._renewing = asyncio.Lock()

    @property
    def champion(self) -> Serving | None:
        """What serves by default; None before the first load."""
        return self._serving.get(Alias.CHAMPION)

    async def find(self, alias: str) -> Serving:
        """What serves under `alias`; another alias than champion is loaded when first asked for.

        Raises `UnknownModel`, `ModelRefused`, or `Unavailable` without a champion or a registry to ask.
        """
        found = self._serving.get(alias)
        if found is not None:
            return found
        if alias == Alias.CHAMPION:
            raise no_champion()
        async with self._renewing:
            if alias not in self._serving and alias not in self._absent:
                await self._renew(alias)
        return self._asked_for(alias)

    async def refresh(self) -> None:
        """Let every alias in use serve what the registry says; a refused version leaves the old one in place.

        Raises `Unavailable` if the registry does not answer; then a local copy serves if nothing does yet.
        """
        async with self._renewing:
            self._absent.clear()
            for alias in dict.fromkeys((Alias.CHAMPION, *self._serving)):
                try:
                    await self._renew(alias)
                except ModelRefused as refusal:
                    logger.bind(alias=str(alias)).error("refused: {}", refusal)
                except Unavailable:
                    await self._fall_back(alias)
                    raise

    async def _renew(self, alias: str) -> None:
        version = await asyncio.to_thread(self._source.current, alias)
        if version is None:
            self._forget(alias)
        elif not (_same(version, self._loaded.get(alias)) or _same(version, self._refused.get(alias))):
            await self._replace(alias, version)

    async def _replace(self, alias: str, version: ModelVersion) -> None:
        try:
            model = await asyncio.to_thread(self._load, alias, version)
        except ModelRefused:
            self._refused[alias] = version
            raise
        before = self._serving.get(alias)
        self._loaded[alias], self._serving[alias] = version, Serving(model, alias)
        self._refused.pop(alias, None)
        previous = None if before is None else before.model.version
        logger.bind(alias=str(alias), version=model.version, previous=previous).info("a model serves")

    def _load(self, alias: str, version: ModelVersion) -> ServedModel:
        model = self._source.load(version)
        self._source.keep(alias, version)
        return model

    async def _fall_back(self, alias: str) -> None:
        if alias in self._serving:
            return
        model = await asyncio.to_thread(self._source.last_good, alias)
        if model is not None:
            self._serving[alias] = Serving(model, alias)
            logger.bind(alias=str(alias), version=model.version).warning("the registry is gone; the local copy serves")

    def _forget(self, alias: str) -> None:
        """A champion serves on until there is another; other aliases end with the registry's."""
        if alias == Alias.CHAMPION:
            return
        self._serving.pop(alias, None)
        self._loaded.pop(alias, None)
        if len(self._absent) < _REMEMBERED_ABSENT:
            self._absent.add(alias)

    def _asked_for(self, alias: str) -> Serving:
        if alias in self._serving:
            return self._serving[alias]
        if alias in self._refused:
            raise ModelRefused(f"version {self._refused[alias].version}, the {alias}, failed its load check")
        raise UnknownModel(alias)


async def keep_fresh(shelf: Shelf, wake: asyncio.Event, poll_s: float) -> None:
    """Refresh at once, whenever woken, and every `poll_s` seconds; with backoff while nothing serves. Ends by cancellation."""
    waits = pauses()
    while True:
        wake.clear()
        try:
            await shelf.refresh()
        except Unavailable as error:
            logger.bind(part=error.part).warning("the registry was not asked: {}", error)
        if shelf.champion is None:
            logger.warning("waiting: no champion; train a model (`habitus train`)")
        pause_s = poll_s if shelf.champion else next(waits)
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), pause_s)


def no_champion() -> Unavailable:
    """The error of asking before a champion is loaded."""
    error = Unavailable("model", "no champion is loaded yet")
    error.remedy = "train one (`habitus train`), or see that MLflow runs (`habitus status`)"
    return error


def _same(version: ModelVersion, other: ModelVersion | None) -> bool:
    """Whether both are one registered version: a registry made anew counts its versions from 1 again."""
    return other is not None and (version.version, version.source, version.created_at) == (
        other.version,
        other.source,
        other.created_at,
    )
