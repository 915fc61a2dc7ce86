"""Tells `model.events` that a model was refused: from a thread each, because Kafka may be slow or gone, and refusals are rare.

A Kafka that is gone loses the event; the log has the reason.
"""

import threading
from typing import Protocol

from predictor.shelf import Refusal
from runtime.clock import Clock
from runtime.events import ModelEvent


class Announcer(Protocol):
    """Tells other services about models."""

    def announce(self, event: ModelEvent) -> bool:
        """Whether the event got out; blocks, never raises."""
        ...


class RefusalTeller:
    """Call it with a refusal; it returns at once."""

    def __init__(self, announcer: Announcer, clock: Clock) -> None:
        self._announcer = announcer
        self._clock = clock

    def __call__(self, refusal: Refusal) -> None:
        """Announce the refusal, without waiting for it."""
        event = ModelEvent(
            type="ModelRefused",
            time=self._clock.now(),
            model_name=refusal.version.name,
            model_version=refusal.version.version,
            decision={
                "outcome": "refused",
                "alias": str(refusal.alias),
                "reason": str(refusal.error),
                "remedy": refusal.error.remedy,
            },
        )
        threading.Thread(target=self._announcer.announce, args=(event,), name="model-refused", daemon=True).start()
