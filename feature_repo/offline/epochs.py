"""The ledger of a dataset's epochs: which one workers extend, which one readers read, and what each was made from.

An epoch is one making of a history from its log. A backfill plans the next one, opens it to the workers and publishes it to the
readers. Each step is a file created only if absent below `<dataset>/_epochs/`, so the ledger itself is never rewritten.
"""

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from feature_repo.offline.files import Files
from runtime.errors import HistoryConflict

_STEP = re.compile(r"(\d{8})\.(plan|opened|current|finished)\.json")


@dataclass(frozen=True)
class Plan:
    """What the rows of an epoch hold, and the code that makes them."""

    epoch: int
    features: tuple[str, ...]
    state_version: int
    app_version: str
    made_at: datetime


class Epochs:
    """The ledger of `dataset`. Every method raises `InfrastructureError` if the storage fails."""

    def __init__(self, files: Files, dataset: str) -> None:
        self._files = files
        self._folder = f"{dataset}/_epochs/"

    def written(self) -> int:
        """The epoch that workers extend: the greatest that was opened."""
        return self._greatest("opened")

    def current(self) -> int:
        """The epoch that readers read: the greatest that was published."""
        return self._greatest("current")

    def planned(self) -> Plan | None:
        """The plan of the greatest epoch above the written one: of a backfill that has begun and opened nothing yet."""
        greatest = self._greatest("plan")
        return self.plan_of(greatest) if greatest > self.written() else None

    def plan_of(self, epoch: int) -> Plan | None:
        """What the rows of `epoch` hold; None for the first one, which nobody planned."""
        with suppress(FileNotFoundError):
            told: dict[str, Any] = json.loads(self._files.read(self._name(epoch, "plan")))
            return Plan(**told | {"features": tuple(told["features"]), "made_at": datetime.fromisoformat(told["made_at"])})
        return None

    def plan(self, plan: Plan) -> None:
        """Record what the rows of a new epoch will hold. Raises `HistoryConflict` if that epoch is planned already."""
        try:
            self._create(self._name(plan.epoch, "plan"), asdict(plan) | {"made_at": plan.made_at.isoformat()})
        except FileExistsError as error:
            if self.plan_of(plan.epoch) == plan:  # ours: the storage's answer to the first try was lost
                return
            raise HistoryConflict(f"epoch {plan.epoch} is planned already: another backfill is at work") from error

    def open(self, epoch: int) -> None:
        """From now on workers extend `epoch`."""
        self._mark(epoch, "opened")

    def publish(self, epoch: int) -> None:
        """From now on readers read `epoch`."""
        self._mark(epoch, "current")

    def finish(self, epoch: int) -> None:
        """Nothing is left to do of the backfill into `epoch`."""
        self._mark(epoch, "finished")

    def finished(self) -> int:
        """The greatest epoch whose backfill left nothing to do."""
        return self._greatest("finished")

    def bind_log(self, epoch: int, topic: str, log_id: str) -> str:
        """Record that `epoch` is made from the topic with `log_id`, if none is recorded; returns the recorded one."""
        with suppress(FileExistsError):
            if self.log_of(epoch, topic) is None:
                self._create(self._log_name(epoch, topic), {"log_id": log_id})
        return self.log_of(epoch, topic) or log_id

    def log_of(self, epoch: int, topic: str) -> str | None:
        """The id of the topic that `epoch` is made from; None if none is recorded."""
        with suppress(FileNotFoundError):
            return str(json.loads(self._files.read(self._log_name(epoch, topic)))["log_id"])
        return None

    def _log_name(self, epoch: int, topic: str) -> str:
        return self._name(epoch, f"{topic}.log")

    def _greatest(self, step: str) -> int:
        steps = (_STEP.fullmatch(name.removeprefix(self._folder)) for name in self._files.names(self._folder))
        return max((int(found[1]) for found in steps if found and found[2] == step), default=0)

    def _mark(self, epoch: int, step: str) -> None:
        with suppress(FileExistsError):
            self._create(self._name(epoch, step), {"epoch": epoch})

    def _create(self, name: str, content: dict[str, Any]) -> None:
        self._files.create(name, json.dumps(content).encode())

    def _name(self, epoch: int, what: str) -> str:
        return f"{self._folder}{epoch:08d}.{what}.json"
