"""Settings of the monitor: environment variables `HABITUS_MONITOR_*` beside those that all processes share."""

from functools import cached_property

from pydantic import Field

from monitor.comparison import Rule
from runtime.settings import Settings


class MonitorSettings(Settings):
    """What the monitor is told; the defaults were measured (docs/decisions/0007-window-alarm.md)."""

    monitor_window: int = Field(1_000, ge=100, description="records in a tumbling window, at most one a person")
    monitor_level: float = Field(0.001, gt=0, lt=1, description="share of windows without drift that may alarm")
    monitor_least_psi: float = Field(0.005, ge=0, description="PSI beyond chance below which drift is trivial")
    monitor_quiet_windows: int = Field(5, ge=0, description="windows after an alert in which the same model is not alerted again")
    monitor_champion_poll_s: float = Field(10.0, gt=0, description="seconds between looks at the registry")

    @cached_property
    def rule(self) -> Rule:
        """When a feature counts as drifted."""
        return Rule(self.monitor_level, self.monitor_least_psi)

    @property
    def monitor_group(self) -> str:
        """The consumer group that reads `person.features`."""
        return f"{self.topic_prefix}monitor"
