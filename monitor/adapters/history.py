"""The offline history as the monitor reads it: the latest rows, labels, and predictions joined with labels."""

from datetime import datetime
from typing import Any, cast

import pandas as pd

from feature_repo.latest import IDENTITY, counted_labels, counted_predictions, counted_rows
from feature_repo.offline.files import Files
from feature_repo.offline.history import History
from feature_repo.person import ATTRIBUTES
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, PREDICTIONS, Dataset
from monitor.rows import FeatureRow

_SOURCE = ["source_topic", "source_partition", "source_offset"]


class OfflineHistory:
    """The Parquet history in `files`. Every frame is empty, with its columns, where nothing was recorded yet."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def features(self, *, since: datetime | None = None) -> pd.DataFrame:
        """One row a person and event time, in the order of event time; the last record of several with one time counts."""
        return _in_order(counted_rows(self._scan(PERSON_FEATURES, since)))

    def labels(self) -> pd.DataFrame:
        """One label a person and event time, in the order of event time; the one that came last counts."""
        return _in_order(counted_labels(self._scan(PERSON_LABELS)))

    def predictions(self) -> pd.DataFrame:
        """One row a request, in the order of serving."""
        return counted_predictions(self._scan(PREDICTIONS)).sort_values(["served_at", "source_offset"], ignore_index=True)

    def labelled_predictions(self) -> pd.DataFrame:
        """The predictions whose label is known, in the order of serving; the truth is in column `actual`."""
        labels = self.labels()[[*IDENTITY, "obesity_level"]].rename(columns={"obesity_level": "actual"})
        return self.predictions().merge(labels, on=IDENTITY, how="inner")

    def rows_after(self, moment: datetime) -> list[FeatureRow]:
        """The feature rows with an event time later than `moment`, in the order of event time."""
        found = self._scan(PERSON_FEATURES, moment, [*IDENTITY, *ATTRIBUTES, *_SOURCE])
        later = found[found["event_timestamp"] > moment].sort_values(["event_timestamp", "source_offset"], kind="stable")
        return [_feature_row(fields) for fields in cast("list[dict[str, Any]]", later.to_dict("records"))]

    def _scan(self, dataset: Dataset, since: datetime | None = None, columns: list[str] | None = None) -> pd.DataFrame:
        found: pd.DataFrame = History(self._files, dataset).scan(columns, since=since).to_pandas()
        return found


def _in_order(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sort_values(["event_timestamp", *_SOURCE], ignore_index=True)


def _feature_row(fields: dict[str, Any]) -> FeatureRow:
    return FeatureRow(
        person_id=fields["person_id"],
        event_timestamp=fields["event_timestamp"].to_pydatetime(),
        source=f"{fields['source_topic']}-{fields['source_partition']}",
        source_offset=int(fields["source_offset"]),
        attributes={name: fields[name] for name in ATTRIBUTES},
    )
