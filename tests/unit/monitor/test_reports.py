"""Reports and `habitus drift` from a small made history."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from feature_repo.labels import LEVELS
from feature_repo.materialise import Located, materialise
from feature_repo.offline.files import LocalFiles
from feature_repo.offline.history import History, OffsetRange
from feature_repo.person import ATTRIBUTES, PersonRecord
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, PREDICTIONS, Dataset
from habitus.commands.drift import as_object
from monitor.adapters.history import OfflineHistory
from monitor.champion import Champion
from monitor.comparison import Rule, compare
from monitor.handlers import Received
from monitor.performance import performance_by_version
from monitor.recompute import judge
from monitor.reports.kinds import Kind
from monitor.reports.render import Files, make_report
from monitor.reports.sources import REFERENCE_ROWS
from monitor.window import Window
from runtime.errors import NotEnoughData

ROWS = 400
RULE = Rule(0.001, 0.005)


def write(root: Path, dataset: Dataset, rows: pa.Table) -> None:
    topic, when = rows["source_topic"][0].as_py(), rows["ingested_at"][0].as_py()
    History(LocalFiles(root), dataset).append(rows, OffsetRange(topic, 0, 0, len(rows) - 1), when)


def origin(topic: str, offset: int, when: datetime) -> dict[str, object]:
    return {"ingested_at": when, "source_topic": topic, "source_partition": 0, "source_offset": offset}


def write_features(root: Path, frame: pd.DataFrame) -> None:
    located = [
        Located(PersonRecord.model_validate({name: fields[name] for name in (*ATTRIBUTES, "person_id", "event_timestamp")}),
                "person.records", 0, offset, fields["event_timestamp"].to_pydatetime())
        for offset, fields in enumerate(frame.to_dict("records"))
    ]  # fmt: skip
    write(root, PERSON_FEATURES, materialise(located, {})[0])


def write_labels(root: Path, frame: pd.DataFrame) -> None:
    rows = [
        {"person_id": p, "event_timestamp": t, "obesity_level": level, **origin("person.labels", offset, t)}
        for offset, (p, t, level) in enumerate(
            zip(frame["person_id"], frame["event_timestamp"], frame["obesity_level"], strict=True)
        )
    ]
    write(root, PERSON_LABELS, pa.Table.from_pylist(rows, schema=PERSON_LABELS.schema))


def write_predictions(root: Path, frame: pd.DataFrame) -> None:
    """Every prediction says the first level, with probability .4."""
    others = dict.fromkeys([f"p_{level}" for level in LEVELS], 0.1)
    rows = [
        {"person_id": p, "event_timestamp": t, "request_id": f"r{offset}", "served_at": t + timedelta(seconds=1),
         "model_name": "obesity-level", "model_version": "1", "model_alias": "champion", "obesity_level": LEVELS[0],
         "features": "{}", **others, f"p_{LEVELS[0]}": 0.4, **origin("predictions", offset, t)}
        for offset, (p, t) in enumerate(zip(frame["person_id"], frame["event_timestamp"], strict=True))
    ]  # fmt: skip
    write(root, PREDICTIONS, pa.Table.from_pylist(rows, schema=PREDICTIONS.schema))


@pytest.fixture(scope="module")
def frame(population: Callable[..., pd.DataFrame], after_training: datetime) -> pd.DataFrame:
    return population(ROWS, seed=21, weight_scale=1.1, start=after_training)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory, frame: pd.DataFrame) -> OfflineHistory:
    root = tmp_path_factory.mktemp("offline")
    write_features(root, frame)
    write_labels(root, frame)
    write_predictions(root, frame.head(100))
    return OfflineHistory(LocalFiles(root))


def files(folder: Path) -> Files:
    return Files(folder / "new" / "report.html", folder / "new" / "report.json")


@pytest.mark.parametrize("kind", list(Kind))
def test_every_report_is_html_and_json(
    kind: Kind, champion: Champion, history: OfflineHistory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = make_report(kind, champion, history, 300, files(tmp_path))
    saved = json.loads(files(tmp_path).json.read_text())
    HTMLParser().feed(files(tmp_path).html.read_text())
    assert saved["report"]["metrics"]
    assert (saved["kind"], saved["current_rows"]) == (kind, 100 if kind is Kind.MODEL_PERFORMANCE else 300)
    assert summary.reference_rows == REFERENCE_ROWS
    assert capsys.readouterr().out == ""


def test_a_report_looks_at_the_latest_rows(
    champion: Champion, history: OfflineHistory, frame: pd.DataFrame, tmp_path: Path
) -> None:
    summary = make_report(Kind.DATA_QUALITY, champion, history, 50, files(tmp_path))
    assert pd.Timestamp(summary.since) == frame["event_timestamp"].iloc[-50]
    assert pd.Timestamp(summary.until) == frame["event_timestamp"].iloc[-1]


def test_performance_has_weighted_beside_macro_f1(
    champion: Champion, history: OfflineHistory, frame: pd.DataFrame, tmp_path: Path
) -> None:
    """Promise: scores are those of the predictions whose label came, in our figures and in Evidently's."""
    summary = make_report(Kind.MODEL_PERFORMANCE, champion, history, 300, files(tmp_path))
    share = float((frame["obesity_level"].head(100) == LEVELS[0]).mean())
    weighted = share * 2 * share / (1 + share)
    assert summary.scores["accuracy"] == pytest.approx(share)
    assert summary.scores["weighted_f1"] == pytest.approx(weighted)
    metrics = json.loads(files(tmp_path).json.read_text())["report"]["metrics"]
    assert [m["value"] for m in metrics if "WeightedF1" in m["metric_name"]] == [pytest.approx(weighted)]
    assert performance_by_version(history.labelled_predictions())["1"]["accuracy"] == pytest.approx(share)


@pytest.mark.parametrize(
    ("kind", "remedy"),
    [(Kind.DATA_DRIFT, "replay"), (Kind.TARGET_DRIFT, "labels"), (Kind.MODEL_PERFORMANCE, "habitus predict")],
)
def test_a_report_of_nothing_says_what_to_do(kind: Kind, remedy: str, champion: Champion, tmp_path: Path) -> None:
    with pytest.raises(NotEnoughData) as refused:
        make_report(kind, champion, OfflineHistory(LocalFiles(tmp_path)), 300, files(tmp_path))
    assert remedy in refused.value.remedy
    assert not files(tmp_path).html.exists()


def test_target_drift_does_without_predictions(champion: Champion, frame: pd.DataFrame, tmp_path: Path) -> None:
    write_labels(tmp_path, frame)
    history = OfflineHistory(LocalFiles(tmp_path))
    assert make_report(Kind.TARGET_DRIFT, champion, history, 100, files(tmp_path)).current_rows == 100


def test_drift_from_history_is_the_live_window(
    champion: Champion, history: OfflineHistory, frame: pd.DataFrame, received: Callable[..., list[Received]]
) -> None:
    """Promise: the figures of `habitus drift` are those of a live window of the same rows, bit for bit."""
    window = Window(champion.reference, ROWS)
    for each in received(frame):
        window.add(each.row)
    assert judge(champion, history, ROWS, RULE).verdicts == compare(champion.reference, window.counts(), RULE)


def test_drift_prints_what_scripts_rely_on(champion: Champion, history: OfflineHistory) -> None:
    found = json.loads(json.dumps(as_object(judge(champion, history, 300, RULE)), allow_nan=False))
    assert {"model_version", "events", "alarm", "e_value", "statistic", "threshold", "features"} <= found.keys()
    assert (found["model_version"], found["events"], found["alarm"], found["threshold"]) == ("1", 300, True, 3.0)
    assert all({"name", "psi", "e_value", "drifted"} <= feature.keys() for feature in found["features"])
    assert [feature["name"] for feature in found["features"] if feature["drifted"]] == ["weight_kg"]


def test_drift_of_training_rows_alone_says_what_to_do(
    champion: Champion, population: Callable[..., pd.DataFrame], tmp_path: Path
) -> None:
    write_features(tmp_path, population(20))
    with pytest.raises(NotEnoughData, match="no record is newer") as refused:
        judge(champion, OfflineHistory(LocalFiles(tmp_path)), 300, RULE)
    assert "replay" in refused.value.remedy
