"""Moves the registry's aliases: the only place that does, and it announces every move on `model.events`.

The registry is the truth. An announcement that fails is logged and takes nothing back. What is decided is written down first,
and a promoted version is challenger until it is champion: so a promotion that was cut off can be seen, and finished.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from loguru import logger

from runtime.clock import Clock
from runtime.errors import HabitusError
from runtime.events import ModelEvent
from runtime.registry import Alias, ModelVersion
from trainer.decide import Decision

DECISION_TAG = "decision"
_OUTDATED = "the champion changed meanwhile"
EventType = Literal["ModelRegistered", "ModelPromoted", "ModelRolledBack", "ModelRejected"]


class Announcer(Protocol):
    """Tells other services about models."""

    def announce(self, event: ModelEvent) -> bool:
        """Whether the event got out; a failure is logged, not raised."""
        ...


class Aliases(Protocol):
    """What promotion needs of the registry; every call raises `Unavailable` if it does not answer."""

    def by_alias(self, alias: str) -> ModelVersion | None:
        """The version that holds `alias`."""
        ...

    def by_version(self, version: str) -> ModelVersion | None:
        """The version of this number."""
        ...

    def set_alias(self, alias: str, version: str) -> None:
        """Let `version` hold `alias`."""
        ...

    def remove_alias(self, alias: str) -> None:
        """Let no version hold `alias`."""
        ...

    def set_tag(self, version: str, key: str, value: str) -> None:
        """Tag `version`."""
        ...


@dataclass(frozen=True)
class Promotion:
    """The aliases champion, challenger and previous of one registered model."""

    registry: Aliases
    announcer: Announcer
    clock: Clock

    def challenge(self, version: ModelVersion) -> None:
        """`version` is new and becomes the challenger."""
        self.registry.set_alias(Alias.CHALLENGER, version.version)
        self._announce("ModelRegistered", version, {"scores": version.tags})

    def settle(self, version: ModelVersion, decision: Decision) -> Decision:
        """Promote or reject the challenger `version`, as decided; the record of the decision stays with the version.

        Who beat a champion that reigns no longer is rejected. Returns the decision that was carried out.
        """
        if decision.promote and self._reigning() != decision.champion_version:
            decision = replace(decision, promote=False, reason=_OUTDATED)
        self._carry_out(version, decision.record())
        return decision

    def is_unfinished(self, version: ModelVersion) -> bool:
        """Whether `version` was to be promoted and its promotion was cut off. A version that an operator took back was not."""
        decided = json.loads(version.tags.get(DECISION_TAG, "{}"))
        return Alias.CHALLENGER in version.aliases and decided.get("outcome") == "promoted"

    def finish(self, version: ModelVersion) -> None:
        """Carry out the promotion of an unfinished `version`; if the champion changed meanwhile, reject it."""
        record = json.loads(version.tags[DECISION_TAG])
        if self._reigning() != record["champion_version"]:
            record |= {"promote": False, "outcome": "rejected", "reason": _OUTDATED}
        self._carry_out(version, record)

    def promote(self, number: str) -> ModelVersion:
        """Make version `number` champion because an operator says so. Raises `HabitusError` if there is no such version."""
        version = self.registry.by_version(number)
        if version is None:
            raise HabitusError(f"there is no version {number}", remedy="`habitus models` lists the versions")
        if Alias.CHAMPION in version.aliases:
            raise HabitusError(f"version {number} is the champion already", remedy="nothing to do")
        earlier = json.loads(version.tags.get(DECISION_TAG, "null"))
        by_hand = Decision(
            promote=True,
            reason="promoted by an operator",
            champion_version=self._reigning(),
            test="none",
            evidence={"earlier": earlier},
        )
        self._carry_out(version, by_hand.record())
        return version

    def rollback(self) -> ModelVersion:
        """Champion and previous change places; returns the new champion. Raises `HabitusError` if there is no previous one."""
        champion, previous = self.registry.by_alias(Alias.CHAMPION), self.registry.by_alias(Alias.PREVIOUS)
        if champion is None or previous is None or champion.version == previous.version:
            raise HabitusError("there is no previous champion to go back to", remedy="`habitus promote VERSION` names one")
        self._crown(previous)
        record = {"outcome": "rolled back", "reason": f"an operator went back from version {champion.version}"}
        self._announce("ModelRolledBack", previous, record)
        return previous

    def announce_again(self, version: ModelVersion) -> None:
        """Repeat the end of a promotion, which may have been cut off after the champion moved."""
        self._retire_challenger(version)
        self._announce("ModelPromoted", version, json.loads(version.tags.get(DECISION_TAG, "{}")))

    def _carry_out(self, version: ModelVersion, record: Mapping[str, Any]) -> None:
        self.registry.set_tag(version.version, DECISION_TAG, json.dumps(record))
        if record["promote"]:
            self._crown(version)
        logger.bind(model_version=version.version).info("{}: {}", record["outcome"], record["reason"])
        self._announce("ModelPromoted" if record["promote"] else "ModelRejected", version, record)

    def _reigning(self) -> str | None:
        champion = self.registry.by_alias(Alias.CHAMPION)
        return None if champion is None else champion.version

    def _crown(self, version: ModelVersion) -> None:
        """Champion moves in one step, so that at any moment there is one, and after `previous`: there is always a way back."""
        reigning = self._reigning()
        if reigning not in (None, version.version):
            self.registry.set_alias(Alias.PREVIOUS, str(reigning))
        self.registry.set_alias(Alias.CHAMPION, version.version)
        self._retire_challenger(version)

    def _retire_challenger(self, version: ModelVersion) -> None:
        challenger = self.registry.by_alias(Alias.CHALLENGER)
        if challenger is not None and challenger.version == version.version:
            self.registry.remove_alias(Alias.CHALLENGER)

    def _announce(self, kind: EventType, version: ModelVersion, decision: Mapping[str, Any]) -> None:
        self.announcer.announce(
            ModelEvent(
                type=kind,
                time=self.clock.now(),
                model_name=version.name,
                model_version=version.version,
                decision=dict(decision),
            )
        )
