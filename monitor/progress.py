"""What the monitor must remember beyond a restart: how far it came, for which model, and how long it stays quiet.

Place in the flow: it is stored as the metadata of the committed offsets, so that both are written in one step. The open window is
not in it: offsets are committed where a window begins, and the rows after them are read again.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import orjson

from monitor.rows import FeatureRow


@dataclass(frozen=True)
class Progress:
    """`seen` holds the last source offset counted of each source partition; `quiet_windows` are yet to pass without an alert."""

    model_version: str = ""
    quiet_windows: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def knows(self, row: FeatureRow) -> bool:
        """Whether the row was handled before: a partition's records come in the order of their offsets."""
        return row.source_offset <= self.seen.get(row.source, -1)

    def after(self, row: FeatureRow) -> "Progress":
        """The progress once `row` is handled."""
        return replace(self, seen=self.seen | {row.source: row.source_offset})

    def under(self, model_version: str) -> "Progress":
        """The progress once `model_version` is the champion; another model is not kept quiet about."""
        return self if model_version == self.model_version else replace(self, model_version=model_version, quiet_windows=0)

    def encode(self) -> str:
        """The progress as text."""
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def decode(cls, text: str) -> "Progress":
        """The progress in `text`; the beginning if there is none."""
        if not text:
            return cls()
        found: dict[str, Any] = orjson.loads(text)
        return cls(found["model_version"], found["quiet_windows"], found["seen"])

    @classmethod
    def joined(cls, parts: Iterable["Progress"]) -> "Progress":
        """The progress of several partitions together: the furthest of each source, the latest model's quiet time."""
        together = list(parts)
        if not together:
            return cls()
        latest = max(together, key=lambda each: (int(each.model_version or 0), -each.quiet_windows))
        seen: dict[str, int] = {}
        for part in together:
            for source, offset in part.seen.items():
                seen[source] = max(offset, seen.get(source, -1))
        return replace(latest, seen=seen)
