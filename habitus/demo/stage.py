"""What the steps share: the stack they run on, the narrator, and what earlier steps left for later ones."""

from dataclasses import dataclass, field

import pandas as pd

from feature_repo.offline.history import History, open_history
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from habitus.data.messages import ReplayOptions
from habitus.data.replay import ReplaySummary, replay
from habitus.data.settings import DataSettings
from habitus.demo.narrator import Narrator
from habitus.demo.population import Groups
from habitus.demo.waiting import until
from habitus.stack.lifecycle import Stack
from runtime.events import DriftAlert
from runtime.kafka import lag
from runtime.topics import Topics

DRAINED_WITHIN_S = 240.0


@dataclass
class Stage:
    """The demo's stack and story so far; `settings` and `groups` are set by the first two steps."""

    narrator: Narrator
    stack: Stack
    settings: DataSettings
    groups: Groups | None = None
    published: dict[str, int] = field(default_factory=lambda: {"records": 0, "labels": 0})
    versions: dict[str, str] = field(default_factory=dict)  # first and second champion, by role in the story
    alert: DriftAlert | None = None

    @property
    def topics(self) -> Topics:
        """The topics of the demo's stack."""
        return Topics(self.settings)

    def people(self) -> Groups:
        """The groups. Raises `ValueError` before the step that makes them."""
        if self.groups is None:
            raise ValueError("the population has not been opened yet")
        return self.groups

    def replay(self, rows: pd.DataFrame, options: ReplayOptions) -> ReplaySummary:
        """Publish rows and count them among what was published."""

        def progress(sent: int, total: int) -> None:
            self.narrator.wait(f"published {sent:,} of {total:,}")

        summary = replay(self.settings, rows, options, progress=progress)
        self.published["records"] += summary.records
        self.published["labels"] += summary.labels
        return summary

    def drain(self) -> None:
        """Wait until the stream has acknowledged every record and label: by lag, not by sleep."""
        group = Topics(self.settings).streams_group
        for topic in (self.topics.records.name, self.topics.labels.name):

            def caught_up(topic: str = topic) -> bool:
                behind = lag(self.settings, group, topic)
                self.narrator.wait(f"the stream is {behind:,} messages behind on {topic}")
                return behind == 0

            until(self.narrator, f"the stream to drain {topic}", caught_up, deadline_s=DRAINED_WITHIN_S)

    def features(self) -> History:
        """The history of feature rows."""
        return open_history(self.settings, PERSON_FEATURES)

    def labels(self) -> History:
        """The history of labels."""
        return open_history(self.settings, PERSON_LABELS)
