"""Training sets from the offline store: labels from their history, features by Feast's point-in-time join.

Place in the flow: the only reader of the history in the trainer.
"""

import warnings
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import FeatureStore
from feast.errors import FeatureServiceNotFoundException

from feature_repo.history import History
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, TIME
from feature_repo.store import apply_definitions, open_store
from feature_repo.views import FEATURE_SERVICE
from runtime.errors import NotEnoughData
from runtime.settings import Settings
from trainer.training_set import TrainingSet, latest_labels

# Every record has it: where it is missing, the join found no row.
_ALWAYS_THERE = "records_seen"
_REMEDY = "publish records and labels (`habitus replay FILE`), and see that the streams run (`habitus status`)"


class FeastHistory:
    """The history of `settings`, read as it was known at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._features = History(settings.offline_path, PERSON_FEATURES)
        self._labels = History(settings.offline_path, PERSON_LABELS)

    def labels(self, as_of: datetime, since: datetime | None = None) -> pd.DataFrame:
        """The labels known at `as_of`, one for each record, of event times from `since` on."""
        return latest_labels(self._labels.scan(since=since).to_pandas(), as_of)

    def training_set(self, as_of: datetime) -> TrainingSet:
        """Every label known at `as_of` with its features: the person's newest row up to the label's event time that was known
        at `as_of`. Raises `NotEnoughData` if there are no labels or no features.
        """
        labels = self.labels(as_of)
        arrivals = self._features.scan(["ingested_at"])["ingested_at"]
        if labels.empty or not len(arrivals):
            missing = "labels" if labels.empty else "features"
            raise NotEnoughData(f"the history holds no {missing} that were known at {as_of.isoformat()}", remedy=_REMEDY)
        joined = self._joined(labels, as_of, everything_known=pc.max(arrivals).as_py() <= as_of)
        found = joined[joined[_ALWAYS_THERE].notna()]
        ordered = found.sort_values(["event_timestamp", "person_id"], ignore_index=True)
        return TrainingSet(ordered, as_of, labels_without_features=len(joined) - len(found))

    def _joined(self, labels: pd.DataFrame, as_of: datetime, *, everything_known: bool) -> pd.DataFrame:
        if everything_known:
            return _join(self._settings, labels)
        # Feast cuts off by event time alone, so what came later is left out of what it reads.
        with TemporaryDirectory(prefix="habitus-as-of-") as folder:
            return _join(self._as_known(as_of, Path(folder)), labels)

    def _as_known(self, as_of: datetime, folder: Path) -> Settings:
        known = self._features.scan().filter(pc.field("ingested_at") <= pa.scalar(as_of, TIME))
        snapshot = folder / PERSON_FEATURES.name / "known"
        snapshot.mkdir(parents=True)
        pq.write_table(known, snapshot / "known.parquet")
        # A copy takes over cached properties as they were, so these are set and not the settings that they come from.
        return self._settings.model_copy(update={"offline_path": folder, "registry_url": f"sqlite:///{folder / 'registry.db'}"})


def _join(settings: Settings, labels: pd.DataFrame) -> pd.DataFrame:
    store = _store_with_definitions(settings)
    service = store.get_feature_service(FEATURE_SERVICE)
    with warnings.catch_warnings():
        # ibis 12 still calls DuckDB by the old name; Feast makes such warnings visible to every user.
        warnings.filterwarnings("ignore", message="fetch_arrow_table", category=DeprecationWarning)
        frame: pd.DataFrame = store.get_historical_features(entity_df=labels, features=service).to_df()
    return frame


def _store_with_definitions(settings: Settings) -> FeatureStore:
    store = open_store(settings)
    try:
        store.get_feature_service(FEATURE_SERVICE)
    except FeatureServiceNotFoundException:
        apply_definitions(settings)
        # The first store has cached a registry without them.
        return open_store(settings)
    return store
