"""The four Evidently reports, from the offline history, on the rows since the drift."""

from contextlib import closing

from feature_repo.offline.files import open_files
from habitus.data.columns import PERSON
from habitus.demo.modelling import ask
from habitus.demo.stage import Stage
from habitus.demo.waiting import until
from monitor.adapters.champions import Champions
from monitor.adapters.history import OfflineHistory
from monitor.reports.kinds import Kind
from monitor.reports.render import Files, make_report
from runtime.registry import Registry

FOLDER = "reports"
WINDOW = 300
_LOGGED_WITHIN_S = 60.0


def report(stage: Stage) -> None:
    """Data drift, data quality, target drift and model performance; the last one needs predictions whose labels came."""
    persons = list(dict.fromkeys(stage.people().drifted[PERSON]))[:WINDOW]
    ask(stage, persons)
    history = OfflineHistory(open_files(stage.settings.offline))
    wanted = set(persons)

    def logged() -> bool:
        return wanted <= set(history.predictions()[PERSON])

    until(stage.narrator, "the prediction log to reach its history", logged, deadline_s=_LOGGED_WITHIN_S)
    folder = stage.settings.home / FOLDER
    with closing(Champions(Registry(stage.settings))) as champions:
        champion = champions.current()
        for kind in Kind:
            stage.narrator.wait(f"{kind.value}")
            made = make_report(
                kind, champion, history, WINDOW, Files(folder / f"{kind.value}.html", folder / f"{kind.value}.json")
            )
            stage.narrator.say(f"{kind.value}: {made.failed_tests} of {made.tests} tests failed, {made.current_rows:,} rows")
    written = [file for file in folder.glob("*.html") if file.stat().st_size]
    stage.narrator.check("four reports are written", held=len(written) == len(Kind), evidence=f"{len(written)} pages in {folder}")
