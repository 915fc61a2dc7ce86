"""The gate: whether a challenger takes the champion's place. Both predict the same gate rows, which neither has ever seen.

The test is the paired t-test on the difference of the two models' log losses, one-sided: equal predictive accuracy of two
forecasts (Diebold and Mariano 1995, Journal of Business & Economic Statistics 13: 253-263). Rows of one person are not
independent, so each person gives one difference, the mean of his rows. Log loss and not accuracy: on 1,764 gate rows a gain of
.6 points is seen with power .975 by paired log loss, .43 by McNemar's test of the hits.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from trainer.pipeline import Floats

TEST = "paired one-sided t-test on log loss, one difference a person"
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Decision:
    """Whether the challenger is promoted, and all that it rests on.

    Losses are mean log losses in nats over gate persons; `difference` is champion minus challenger, so positive is better, with
    its two-sided 95 % interval.
    """

    promote: bool
    reason: str
    rows: int = 0
    persons: int = 0
    champion_version: str | None = None
    champion_log_loss: float | None = None
    challenger_log_loss: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    significance: float | None = None
    test: str = TEST
    evidence: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The decision record, ready for JSON."""
        found = {name: value for name, value in asdict(self).items() if name != "evidence"}
        return {**found, "outcome": "promoted" if self.promote else "rejected", **self.evidence}


def first_model(rows: int) -> Decision:
    """The first model of all has nobody to beat."""
    return Decision(promote=True, reason="first model: there was no champion to beat", rows=rows, test="none")


def judge(
    champion_losses: Floats,
    challenger_losses: Floats,
    persons: Sequence[str],
    *,
    champion_version: str,
    significance: float,
    least_persons: int,
) -> Decision:
    """Promote if the challenger's losses on the same n gate rows are smaller at `significance`.

    With fewer than `least_persons` persons nothing is decided, and the champion stays.
    """
    paired = pd.DataFrame({"champion": champion_losses, "challenger": challenger_losses}).groupby(np.asarray(persons)).mean()
    seen: dict[str, Any] = {"rows": len(persons), "persons": len(paired), "champion_version": champion_version}
    if len(paired) < least_persons:
        return Decision(
            promote=False, reason=f"not decided: too few gate persons ({len(paired)}, needed {least_persons})", **seen
        )
    differences = (paired["champion"] - paired["challenger"]).to_numpy()
    p_value, interval = _paired_t(differences)
    seen |= {
        "champion_log_loss": float(paired["champion"].mean()),
        "challenger_log_loss": float(paired["challenger"].mean()),
        "difference": float(differences.mean()),
        "interval": interval,
        "p_value": p_value,
        "significance": significance,
    }
    promote = p_value < significance
    verdict = "better than" if promote else "not shown to be better than"
    return Decision(promote, f"{verdict} champion {champion_version} (p = {p_value:.2g}, limit {significance:g})", **seen)


def _paired_t(differences: Floats) -> tuple[float, tuple[float, float]]:
    """One-sided p-value of a mean above 0, and the mean's two-sided interval."""
    mean, size = float(differences.mean()), len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(size))
    # Equal losses on every row (the same model twice), up to rounding: nothing speaks for a change.
    if error <= np.finfo(float).eps:
        return 1.0, (mean, mean)
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, size - 1)) * error
    return float(stats.t.sf(mean / error, size - 1)), (mean - reach, mean + reach)
