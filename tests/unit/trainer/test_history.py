"""Which row of a person a label is joined with, on a real Parquet history and Feast's own join."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from feature_repo.materialise import Located, materialise
from feature_repo.offline.history import History, OffsetRange, open_history
from feature_repo.person import PersonRecord
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, Dataset
from runtime.errors import NotEnoughData
from runtime.settings import Settings
from trainer.adapters.history import FeastHistory

T0 = datetime(2025, 1, 1, tzinfo=UTC)
NOW = datetime(2025, 6, 1, tzinfo=UTC)
# (person, event minute, minute of arrival, weight)
Arrival = tuple[str, int, int, float]
Write = Callable[[Sequence[Arrival], Sequence[tuple[str, int]]], FeastHistory]


def located(offset: int, arrival: Arrival) -> Located:
    person, event, arrived, weight = arrival
    record = PersonRecord(
        person_id=person,
        event_timestamp=T0 + timedelta(minutes=event),
        gender="Female",
        age_years=30,
        height_m=1.7,
        weight_kg=weight,
    )
    return Located(record, "person.records", 0, offset, T0 + timedelta(minutes=arrived))


def label(offset: int, person: str, event: int) -> dict[str, Any]:
    return {
        "person_id": person,
        "event_timestamp": T0 + timedelta(minutes=event),
        "obesity_level": "Normal_Weight",
        "ingested_at": T0 + timedelta(days=1),
        "source_topic": "person.labels",
        "source_partition": 0,
        "source_offset": offset,
    }


@pytest.fixture
def write(settings_for: Callable[..., Any]) -> Write:
    """A function that writes records, at offsets in the order given, and labels (person, event minute)."""

    def make(arrivals: Sequence[Arrival], labels: Sequence[tuple[str, int]]) -> FeastHistory:
        settings: Settings = settings_for(Settings)
        rows, _ = materialise([located(offset, each) for offset, each in enumerate(arrivals)], {})
        told = pa.Table.from_pylist([label(n, *each) for n, each in enumerate(labels)], schema=PERSON_LABELS.schema)
        for dataset, table, topic in ((PERSON_FEATURES, rows, "person.records"), (PERSON_LABELS, told, "person.labels")):
            open_history(settings, dataset).append(table, OffsetRange(topic, 0, 0, len(table) - 1), T0)
        return FeastHistory(settings)

    return make


@pytest.mark.parametrize("arrivals", [(5, 5), (5, 6), (6, 5)])
def test_of_equal_event_times_the_greatest_offset_is_joined_as_online(write: Write, arrivals: tuple[int, int]) -> None:
    """Promise: training and serving see the same row, also if message times run backwards."""
    first, second = arrivals
    history = write([("ann", 0, first, 60), ("ann", 0, second, 61), ("bob", 0, 5, 80)], [("ann", 0), ("bob", 0)])
    data = history.training_set(NOW)
    assert data.rows["weight_kg"].tolist() == [61, 80]
    assert data.labels_without_features == 0


def test_a_row_that_was_superseded_later_counts_at_the_cut_off(write: Write) -> None:
    history = write([("ann", 0, 5, 60), ("ann", 0, 2_000, 61)], [("ann", 0)])
    assert history.training_set(T0 + timedelta(minutes=1_500)).rows["weight_kg"].tolist() == [60]


def test_a_label_whose_own_record_is_not_there_takes_no_older_one(write: Write) -> None:
    history = write([("ann", 0, 5, 60), ("ann", 20, 25, 62)], [("ann", 0), ("ann", 10), ("ann", 20), ("eve", 0)])
    data = history.training_set(NOW)
    assert data.rows["weight_kg"].tolist() == [60, 62]
    assert data.labels_without_features == 2


def test_labels_without_any_record_of_theirs_are_not_enough(write: Write) -> None:
    with pytest.raises(NotEnoughData, match="no labels with their records"):
        write([("ann", 0, 5, 60)], [("ann", 10)]).training_set(NOW)


@pytest.mark.parametrize("read_first", ["the old file", "the new one"])
def test_files_that_were_written_before_a_feature_existed_are_joined_as_null(
    settings_for: Callable[..., Any], write: Write, read_first: str
) -> None:
    """Promise: between an upgrade and the backfill training goes on."""
    history = write([("ann", 0, 5, 60)], [("ann", 0), ("eve", 0)])
    older = Dataset(PERSON_FEATURES.name, pa.schema([each for each in PERSON_FEATURES.schema if each.name != "bmi"]))
    rows, _ = materialise([located(0, ("eve", 0, 5, 70))], {})
    files = open_history(settings_for(Settings), PERSON_FEATURES).files
    day = T0 + timedelta(days=-1 if read_first == "the old file" else 1)
    History(files, older).append(rows.select(older.schema.names), OffsetRange("person.records", 1, 0, 0), day)
    bmi = history.training_set(NOW).rows.set_index("person_id")["bmi"]
    assert bmi.notna().to_dict() == {"ann": True, "eve": False}
