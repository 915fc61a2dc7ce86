"""Which model serves under which alias. A new version is loaded and warmed before it takes the place of the old one.

Place in the flow: `keep_fresh` follows the registry, `handlers` asks `find` for every batch. The swap is one assignment on the
event loop and a request holds its `Serving` to the end, so no request fails or mixes versions over it.

Followed are champion and challenger, `previous` for a time after this process took its champion (the registry does not tell when
an alias moved), and every alias that was asked for.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from loguru import logger

from predictor.lineup import Lineup
from predictor.messages import Serving
from predictor.model import ServedModel
from predictor.warm import Identity, WarmModels, identity
from runtime.clock import Clock
from runtime.errors import ModelRefused, Unavailable, UnknownModel
from runtime.registry import Alias, ModelVersion
from runtime.retry import pauses

_REMEMBERED_ABSENT = 1_000  # aliases known to be held by none, so that asking again costs nothing until the next refresh


class ModelSource(Protocol):
    """The registry and the local copies of its models. Methods block; `current` and `load` may raise `Unavailable`."""

    def current(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias` now; None if none does."""
        ...

    def load(self, version: ModelVersion) -> ServedModel:
        """The version, checked and warm. Raises `ModelRefused`."""
        ...

    def keep(self, alias: str, version: ModelVersion) -> None:
        """Remember on disk that `version` serves well as `alias`."""
        ...

    def last_good(self, alias: str) -> ServedModel | None:
        """The model last kept as `alias`, from local files alone; None if there is none."""
        ...

    def tidy(self, in_use: Collection[ModelVersion]) -> None:
        """Delete local copies that nobody is likely to need again; never those of `in_use`."""
        ...


@dataclass(frozen=True)
class Refusal:
    """A version behind an alias failed its load check."""

    alias: str
    version: ModelVersion
    error: ModelRefused


@dataclass(frozen=True)
class ShelfRules:
    """How long after a promotion the previous model stays, whether models score in shadow, and who is told of a refusal."""

    previous_for: timedelta = timedelta(hours=1)
    shadowing: bool = True
    on_refusal: Callable[[Refusal], None] = field(default=lambda _: None)


class Shelf:
    """The models that serve, by alias."""

    def __init__(self, source: ModelSource, clock: Clock, rules: ShelfRules | None = None) -> None:
        self._source = source
        self._clock = clock
        self._rules = rules or ShelfRules()
        self._warm = WarmModels(source.load, clock, self._rules.previous_for)
        self._lineup = Lineup(shadowing=self._rules.shadowing)
        self._refused: dict[str, ModelVersion] = {}
        self._told: set[Identity] = set()
        self._asked: set[str] = set()
        self._absent: set[str] = set()
        self._crowned_at: datetime | None = None
        self._is_cut_off = False
        self._renewing = asyncio.Lock()

    @property
    def champion(self) -> Serving | None:
        """What serves by default; None before the first load."""
        return self._lineup.get(Alias.CHAMPION)

    @property
    def servings(self) -> list[Serving]:
        """What serves now, under every alias; may be asked in any thread."""
        return self._lineup.all()

    async def find(self, alias: str) -> Serving:
        """What serves under `alias`; one that is not followed is loaded when first asked for.

        Raises `UnknownModel`, `ModelRefused`, or `Unavailable` without a champion or a registry to ask.
        """
        found = self._lineup.get(alias)
        if found is not None:
            self._asked.add(alias)
            return found
        if alias == Alias.CHAMPION:
            raise no_champion()
        if self._is_cut_off:
            raise Unavailable("mlflow", f"it did not answer when last asked, and nothing is loaded as {alias!r}")
        async with self._renewing:
            if self._lineup.get(alias) is None and alias not in self._absent and alias not in self._refused:
                await self._ask_for(alias)
        return self._asked_for(alias)

    async def refresh(self) -> None:
        """Let every alias that is followed serve what the registry says; a refused version leaves the old one in place.

        Raises `Unavailable` if the registry does not answer; then a local copy serves if nothing does yet.
        """
        async with self._renewing:
            self._absent.clear()
            self._warm.keep(self._lineup.versions())
            failures = [await self._attempt(Alias.CHAMPION)]
            if self.champion is None and (failures[0] or Alias.CHAMPION in self._refused):
                await self._fall_back()
            failures += [await self._attempt(alias) for alias in self._beside_champion()]
            self._let_go()
            await asyncio.to_thread(self._source.tidy, self._lineup.versions())
            gone = [each for each in failures if each is not None]
            self._is_cut_off = bool(gone)
            if gone:
                raise gone[0]

    async def _attempt(self, alias: str) -> Unavailable | None:
        """Renew `alias`; what is missing for it is returned, so that one alias does not hold up the next."""
        try:
            await self._renew(alias)
        except ModelRefused as refusal:
            logger.bind(alias=str(alias)).error("refused: {}", refusal)
        except Unavailable as error:
            return error
        return None

    async def _ask_for(self, alias: str) -> None:
        self._asked.add(alias)
        try:
            await self._renew(alias)
        except Unavailable:
            self._is_cut_off = True
            raise

    async def _renew(self, alias: str) -> None:
        version = await asyncio.to_thread(self._source.current, alias)
        if version is None:
            self._forget(alias)
        elif not _same(version, self._refused.get(alias)):
            await self._take(alias, version)

    async def _take(self, alias: str, version: ModelVersion) -> None:
        """Let `version` serve under `alias`; one that serves already is put again for its tags, which may have changed."""
        try:
            model = await self._warm.get(version)
        except ModelRefused as error:
            self._refuse(Refusal(alias, version, error))
            raise
        self._refused.pop(alias, None)
        before, serving = self._lineup.version(alias), self._lineup.get(alias)
        self._lineup.put(alias, model, version)
        if _same(version, before):
            return
        previous = serving.model.version if serving else None
        logger.bind(alias=str(alias), version=model.version, previous=previous).info("a model serves")
        if alias == Alias.CHAMPION:
            self._crowned_at = self._clock.now()
            await asyncio.to_thread(self._source.keep, alias, version)

    def _refuse(self, refusal: Refusal) -> None:
        """Remember it until another version is behind the alias; it is told once a version."""
        self._refused[refusal.alias] = refusal.version
        if identity(refusal.version) not in self._told:
            self._told.add(identity(refusal.version))
            self._rules.on_refusal(refusal)

    async def _fall_back(self) -> None:
        """Serve the last good champion: the registry is gone, or names one that was refused."""
        model = await asyncio.to_thread(self._source.last_good, Alias.CHAMPION)
        if model is not None:
            self._lineup.put(Alias.CHAMPION, model)
            logger.bind(version=model.version).warning("the registry gave no champion that serves; the local copy does")

    def _is_recent(self) -> bool:
        """Whether this process took its champion so lately that the previous one is still compared."""
        return self._crowned_at is not None and self._clock.now() - self._crowned_at <= self._rules.previous_for

    def _beside_champion(self) -> list[str]:
        """What is followed beside the champion."""
        previous = [Alias.PREVIOUS] if self._is_recent() else []
        return [each for each in dict.fromkeys((Alias.CHALLENGER, *previous, *self._asked)) if each != Alias.CHAMPION]

    def _let_go(self) -> None:
        """Drop `previous` when its time is over, and compare with the champion what still is to be."""
        if not self._is_recent() and Alias.PREVIOUS not in self._asked:
            self._lineup.drop(Alias.PREVIOUS)
        beside = (Alias.CHALLENGER, Alias.PREVIOUS) if self._is_recent() else (Alias.CHALLENGER,)
        # What serves under the alias of a refused version is not what the registry wants compared.
        self._lineup.compare([each for each in beside if each not in self._refused])

    def _forget(self, alias: str) -> None:
        """A champion serves on until there is another; other aliases end with the registry's."""
        self._refused.pop(alias, None)
        if alias == Alias.CHAMPION:
            return
        self._asked.discard(alias)
        self._lineup.drop(alias)
        if len(self._absent) < _REMEMBERED_ABSENT:
            self._absent.add(alias)

    def _asked_for(self, alias: str) -> Serving:
        found = self._lineup.get(alias)
        if found is not None:
            return found
        if alias in self._refused:
            raise ModelRefused(f"version {self._refused[alias].version}, the {alias}, failed its load check")
        raise UnknownModel(alias)


async def keep_fresh(shelf: Shelf, wake: asyncio.Event, poll_s: float) -> None:
    """Refresh at once, whenever woken, and every `poll_s` seconds; sooner while the registry or a champion is missing.

    Ends by cancellation.
    """
    waits = pauses()
    while True:
        wake.clear()
        is_complete = await _refreshed(shelf)
        waits = pauses() if is_complete else waits
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), poll_s if is_complete else min(poll_s, next(waits)))


async def _refreshed(shelf: Shelf) -> bool:
    """Whether the registry was asked in full and a champion serves."""
    try:
        await shelf.refresh()
    except Unavailable as error:
        logger.bind(part=error.part).warning("the registry was not followed: {}", error)
        return False
    if shelf.champion is None:
        logger.warning("waiting: no champion; train a model (`habitus train`)")
    return shelf.champion is not None


def no_champion() -> Unavailable:
    """The error of asking before a champion is loaded."""
    error = Unavailable("model", "no champion is loaded yet")
    error.remedy = "train one (`habitus train`), or see that MLflow runs (`habitus status`)"
    return error


def _same(version: ModelVersion, other: ModelVersion | None) -> bool:
    return other is not None and identity(version) == identity(other)
