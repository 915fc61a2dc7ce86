"""A registry in memory, and what tests of the shelf do with it."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from predictor.model import ServedModel
from runtime.errors import ModelRefused, Unavailable
from runtime.registry import ModelVersion


def version(number: int, *, source: str = "m-1", tags: dict[str, str] | None = None) -> ModelVersion:
    """Version `number`; another `source` makes it another registry's."""
    return ModelVersion("obesity-level", str(number), "run", source, datetime(2026, 1, 1, tzinfo=UTC), (), tags or {})


@dataclass
class FakeSource:
    """Aliases to versions, versions to models or refusals; what is asked and loaded is noted."""

    aliases: dict[str, ModelVersion] = field(default_factory=dict)
    models: dict[str, ServedModel | ModelRefused] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    down: bool = False
    lost: set[str] = field(default_factory=set)
    loads: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tidied: list[str] = field(default_factory=list)

    def current(self, alias: str) -> ModelVersion | None:
        self.asked.append(alias)
        if self.down:
            raise Unavailable("mlflow", "gone")
        return self.aliases.get(alias)

    def load(self, version: ModelVersion) -> ServedModel:
        self.loads.append(version.version)
        if version.version in self.lost:
            raise Unavailable("mlflow", "its files are gone")
        found = self.models[version.version]
        if isinstance(found, ModelRefused):
            raise found
        return found

    def keep(self, alias: str, version: ModelVersion) -> None:
        self.kept[alias] = version.version

    def last_good(self, alias: str) -> ServedModel | None:
        found = self.models.get(self.kept.get(alias, ""))
        return found if isinstance(found, ServedModel) else None

    def tidy(self, in_use: Collection[ModelVersion]) -> None:
        self.tidied = [each.version for each in in_use]

    def promote(self, number: int) -> None:
        """As the trainer does: the champion becomes `previous`, and who was challenger is none any more."""
        new = version(number)
        if "champion" in self.aliases:
            self.aliases["previous"] = self.aliases["champion"]
        self.aliases["champion"] = new
        if self.aliases.get("challenger") == new:
            del self.aliases["challenger"]


@dataclass
class HandClock:
    """A clock that stands until it is turned."""

    time: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def turn(self, by: timedelta) -> None:
        self.time += by


async def until(condition: Callable[[], Any], timeout_s: float = 5) -> None:
    """Wait for `condition`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  what is looked at sets no event
            await asyncio.sleep(0.005)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel `task` and wait for its end."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
