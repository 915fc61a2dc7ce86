"""What happens to feature rows, in order.

rows arrived         -> `handle_rows`      each is counted once, if the champion was not trained on it
the window is full   -> `close_window`     compared, alerted if it drifted, and its offsets committed
champion changed     -> `handle_champion`  a new window against the new reference
partitions assigned  -> `resume`           the window begins anew at the committed offsets

Offsets are committed only where a window begins, with the `Progress` beside them. So the open window needs no store: after
a crash its rows are read again, in the same order within each partition, and none is lost or counted twice. An alert sent right
before a crash may be sent twice; both carry the same id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import NamedTuple, Protocol

from loguru import logger

from feature_repo.reference import Counts
from monitor.champion import Champion
from monitor.comparison import Rule, Verdict, compare
from monitor.progress import Progress
from monitor.rows import FeatureRow
from monitor.window import Window
from monitor.words import summarise
from runtime.clock import Clock
from runtime.events import DriftAlert, FeatureDrift


class Received(NamedTuple):
    """A row, and where it stands on `person.features`."""

    row: FeatureRow
    partition: int
    offset: int


class Checkpoints(Protocol):
    """Durable memory of how far the monitor came."""

    def commit(self, positions: Mapping[int, int], progress: Progress) -> None:
        """Store the next offset of each partition, and `progress`, in one step."""
        ...


class Alerts(Protocol):
    """Where drift is announced."""

    def send(self, alert: DriftAlert) -> None:
        """Publish `alert`; on return it is durable."""
        ...


@dataclass
class Monitor:
    """The monitor's state and what it acts on. `positions` holds the next offset of each partition of `person.features`."""

    champion: Champion
    rule: Rule
    size: int
    quiet_windows: int
    checkpoints: Checkpoints
    alerts: Alerts
    clock: Clock
    progress: Progress = field(default_factory=Progress)
    positions: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        resume(self, self.progress)

    def open_window(self) -> None:
        """Begin a window here; what came before is done."""
        self.window = Window(self.champion.reference, self.size)
        self.began = self.progress


def handle_rows(batch: Sequence[Received], monitor: Monitor) -> int:
    """Count each row of `batch` that is new and that the champion was not trained on; returns how many windows were closed."""
    closed = 0
    for received in batch:
        _count(received.row, monitor)
        monitor.positions[received.partition] = received.offset + 1
        if monitor.window.full:
            close_window(monitor)
            closed += 1
    if batch and not monitor.window:
        _checkpoint(monitor)
    return closed


def close_window(monitor: Monitor) -> tuple[Verdict, ...]:
    """Judge the window, alert if it drifted, then commit: an alert is out before its rows count as done.

    After an alert the same champion is not alerted again for `quiet_windows` windows.
    """
    counts = monitor.window.counts()
    verdicts = compare(monitor.champion.reference, counts, monitor.rule)
    drifted = any(verdict.drifted for verdict in verdicts)
    quiet = max(0, monitor.progress.quiet_windows - 1)
    if drifted and not monitor.progress.quiet_windows:
        monitor.alerts.send(_alert(monitor, counts, verdicts))
        quiet = monitor.quiet_windows
    _log(monitor, counts, verdicts)
    monitor.progress = replace(monitor.progress, quiet_windows=quiet)
    _checkpoint(monitor)
    monitor.open_window()
    return verdicts


def handle_champion(champion: Champion, monitor: Monitor) -> None:
    """Compare with `champion` from the next row on; the rows of the open window belong to the model that left."""
    if champion.version == monitor.champion.version:
        return
    logger.bind(model_version=champion.version, dropped=len(monitor.window)).info("another champion: a new window begins")
    monitor.champion = champion
    monitor.progress = monitor.progress.under(champion.version)
    monitor.open_window()
    _checkpoint(monitor)


def resume(monitor: Monitor, progress: Progress) -> None:
    """Go on from what was committed: the rows of the open window will be read again."""
    monitor.progress = progress.under(monitor.champion.version)
    monitor.positions = {}
    monitor.open_window()


def _count(row: FeatureRow, monitor: Monitor) -> None:
    if monitor.progress.knows(row):
        return
    monitor.progress = monitor.progress.after(row)
    if row.event_timestamp > monitor.champion.trained_until:
        monitor.window.add(row)


def _checkpoint(monitor: Monitor) -> None:
    if monitor.positions:
        monitor.checkpoints.commit(monitor.positions, monitor.progress)


def _alert(monitor: Monitor, counts: Mapping[str, Counts], verdicts: Sequence[Verdict]) -> DriftAlert:
    window = monitor.window
    assert window.earliest is not None and window.latest is not None, "a full window has rows"  # noqa: PT018
    return DriftAlert(
        id=_identity(monitor),
        time=monitor.clock.now(),
        model_version=monitor.champion.version,
        window_from=window.earliest,
        window_to=window.latest,
        events=len(window),
        features=tuple(
            FeatureDrift(name=v.name, psi=v.psi, test=v.test, statistic=v.statistic, p_value=v.p_value, drifted=v.drifted)
            for v in verdicts
        ),
        summary=summarise(monitor.champion.reference, counts, verdicts),
    )


def _identity(monitor: Monitor) -> str:
    """The same for the same model and beginning, so that an alert sent again can be told from another one."""
    began = sorted(monitor.began.seen.items())
    return blake2b(repr((monitor.champion.version, began)).encode(), digest_size=16).hexdigest()


def _log(monitor: Monitor, counts: Mapping[str, Counts], verdicts: Sequence[Verdict]) -> None:
    told = logger.bind(
        model_version=monitor.champion.version,
        events=len(monitor.window),
        p_value=min(verdict.p_value for verdict in verdicts),
        quiet_windows=monitor.progress.quiet_windows,
    )
    drifted = any(verdict.drifted for verdict in verdicts)
    told.log("WARNING" if drifted else "INFO", "window closed: {}", summarise(monitor.champion.reference, counts, verdicts))
