"""The monitor's verdict, computed anew from the offline history: what `habitus drift` shows."""

from dataclasses import dataclass
from math import log10

from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.comparison import Rule, Verdict, compare
from monitor.window import Window
from monitor.words import summarise
from runtime.errors import NotEnoughData

SMALLEST_P = 1e-300  # keeps the statistic finite


@dataclass(frozen=True)
class Judgement:
    """A window of `events` persons against the champion's reference, and what that means."""

    model_version: str
    window: Window
    verdicts: tuple[Verdict, ...]
    rule: Rule
    summary: str

    @property
    def alarm(self) -> bool:
        """Whether any attribute drifted."""
        return any(verdict.drifted for verdict in self.verdicts)

    @property
    def statistic(self) -> float:
        """-log10 of the smallest adjusted p-value; an alarm lies above `threshold`."""
        return abs(log10(max(SMALLEST_P, min(verdict.p_value for verdict in self.verdicts))))

    @property
    def threshold(self) -> float:
        """-log10 of the rule's level."""
        return -log10(self.rule.level)


def judge(champion: Champion, history: OfflineHistory, size: int, rule: Rule) -> Judgement:
    """Judge the latest `size` persons' rows that the champion was not trained on, by event time, one row a person.

    Raises `NotEnoughData` if there is none.
    """
    window = Window(champion.reference, size)
    for row in reversed(history.rows_after(champion.trained_until)):
        if window.full:
            break
        window.add(row)
    if not window:
        raise NotEnoughData(
            f"no record is newer than the training rows of version {champion.version} ({champion.trained_until:%Y-%m-%d %H:%M})",
            remedy="publish newer records: habitus replay FILE --stretch production",
        )
    counts = window.counts()
    verdicts = compare(champion.reference, counts, rule)
    return Judgement(champion.version, window, verdicts, rule, summarise(champion.reference, counts, verdicts))
