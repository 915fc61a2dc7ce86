"""Training sets from the offline store: labels from their history, features by Feast's point-in-time join.

Place in the flow: the only reader of the history in the trainer.
"""

import warnings
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.latest import IDENTITY, counted_rows
from feature_repo.offline.history import open_history
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from feature_repo.store import apply_definitions, open_store
from feature_repo.views import FEATURE_SERVICE
from runtime.errors import NotEnoughData
from runtime.settings import Settings
from trainer.training_set import TrainingSet, latest_labels

_PLACE = [*IDENTITY, "ingested_at", "source_offset"]
_REMEDY = "publish records and labels (`habitus replay FILE`), and see that the streams run (`habitus status`)"


class FeastHistory:
    """The history of `settings`, read as it was known at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._features = open_history(settings, PERSON_FEATURES)
        self._labels = open_history(settings, PERSON_LABELS)

    def labels(self, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:
        """The labels known at `as_of`, one for each record, of event times from `since` on."""
        return latest_labels(self._labels.scan(since=since).to_pandas(), as_of)

    def training_set(self, as_of: datetime) -> TrainingSet:
        """Every label known at `as_of` with the features of the record that it describes: the one of the same person and event
        time, of several the one with the greatest offset, as online. A label whose record was not known (late, or rejected) is
        only counted: an older record is not what it tells of. Raises `NotEnoughData` if no label has its record.
        """
        labels, rows = self.labels(as_of), self._features.scan()
        counted = counted_rows(rows.select(_PLACE).to_pandas(), as_of)
        described = labels.merge(counted[IDENTITY], on=IDENTITY)
        if described.empty:
            missing = "labels" if labels.empty else "features" if counted.empty else "labels with their records"
            raise NotEnoughData(f"the history holds no {missing} that were known at {as_of.isoformat()}", remedy=_REMEDY)
        joined = self._joined(described, rows.take(pa.array(counted.index.sort_values())))
        ordered = joined.sort_values(["event_timestamp", "person_id"], ignore_index=True)
        return TrainingSet(ordered, as_of, labels_without_features=len(labels) - len(described))

    def _joined(self, labels: pd.DataFrame, rows: pa.Table) -> pd.DataFrame:
        """Feast's point-in-time join of `labels` with `rows`, which it is given as files of their own.

        Of the history's files it would cut off by event time alone and of equal event times take the later arrival, whatever the
        offsets. Nor can its DuckDB read files with different columns, which an added feature leaves, or object storage without an
        extension that it downloads.
        """
        with TemporaryDirectory(prefix="habitus-as-of-") as folder:
            snapshot = Path(folder) / PERSON_FEATURES.name / "dt=1970-01-01"
            snapshot.mkdir(parents=True)
            pq.write_table(rows, snapshot / "counted.parquet")
            # A copy takes over cached properties as they were, so these are set and not the settings that they come from.
            own = {"offline": folder, "registry_url": f"sqlite:///{Path(folder) / 'registry.db'}"}
            return _join(self._settings.model_copy(update=own), labels)


def _join(settings: Settings, labels: pd.DataFrame) -> pd.DataFrame:
    apply_definitions(settings)
    store = open_store(settings)
    service = store.get_feature_service(FEATURE_SERVICE)
    with warnings.catch_warnings():
        # ibis 12 still calls DuckDB by the old name; Feast makes such warnings visible to every user.
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        frame: pd.DataFrame = store.get_historical_features(entity_df=labels, features=service).to_df()
    return frame
