"""What serves under each alias, and who stands beside the champion: its canary, and its shadows.

Place in the flow: `shelf` puts models in and takes them out, as the registry says; whoever asks gets a `Serving`. Every change
is one assignment, so that a champion, its canary and its shadows are always those of one moment.
"""

from collections.abc import Collection
from dataclasses import dataclass

from predictor.canary import percent_of
from predictor.messages import Serving
from predictor.model import ServedModel
from predictor.warm import identity
from runtime.registry import Alias, ModelVersion


@dataclass(frozen=True)
class _Held:
    """A model and the version that it is; None for a local copy, of which the registry said nothing."""

    model: ServedModel
    version: ModelVersion | None
    canary_percent: float


class Lineup:
    """The models that serve, by alias."""

    def __init__(self, *, shadowing: bool) -> None:
        self._shadowing = shadowing
        self._held: dict[str, _Held] = {}
        self._beside: tuple[str, ...] = ()
        self._serving: dict[str, Serving] = {}

    def get(self, alias: str) -> Serving | None:
        """What serves under `alias` now."""
        return self._serving.get(alias)

    def all(self) -> list[Serving]:
        """What serves now, under every alias."""
        return list(self._serving.values())

    def version(self, alias: str) -> ModelVersion | None:
        """The registered version behind what serves under `alias`."""
        held = self._held.get(alias)
        return None if held is None else held.version

    def versions(self) -> list[ModelVersion]:
        """All registered versions that serve."""
        return [held.version for held in self._held.values() if held.version is not None]

    def put(self, alias: str, model: ServedModel, version: ModelVersion | None = None) -> None:
        """Let `model` serve under `alias`."""
        percent = percent_of(version.tags, version.version) if version is not None and alias == Alias.CHALLENGER else 0.0
        self._held[alias] = _Held(model, version, percent)
        self._arrange()

    def drop(self, alias: str) -> None:
        """Let nothing serve under `alias`."""
        if self._held.pop(alias, None) is not None:
            self._arrange()

    def compare(self, aliases: Collection[str]) -> None:
        """Let what serves under `aliases` stand beside the champion from now on, and nothing else."""
        self._beside = tuple(aliases)
        self._arrange()

    def _arrange(self) -> None:
        serving = {alias: Serving(held.model, alias) for alias, held in self._held.items()}
        champion = serving.get(Alias.CHAMPION)
        if champion is not None:
            beside = [serving[alias] for alias in self._beside if self._is_another(alias)]
            serving[Alias.CHAMPION] = self._composed(champion, beside)
        self._serving = serving

    def _is_another(self, alias: str) -> bool:
        """Whether `alias` has a registered version, and another than the champion's: of one being promoted both are one."""
        held, champion = self.version(alias), self.version(Alias.CHAMPION)
        return held is not None and champion is not None and identity(held) != identity(champion)

    def _composed(self, champion: Serving, beside: list[Serving]) -> Serving:
        canary = next((each for each in beside if self._held[each.alias].canary_percent > 0), None)
        return Serving(
            champion.model,
            champion.alias,
            canary=canary,
            canary_percent=0.0 if canary is None else self._held[canary.alias].canary_percent,
            shadows=tuple(beside) if self._shadowing else (),
        )
