"""Arrow schemas of the three histories, derived from the feature table.

Times are microseconds in UTC: DuckDB cannot cast nanoseconds with a zone. `ingested_at` is the Kafka message's timestamp.
"""

from dataclasses import dataclass

import pyarrow as pa

from feature_repo.features import FEATURES
from feature_repo.labels import LEVELS

TIME = pa.timestamp("us", tz="UTC")
_ARROW_TYPES = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "category": pa.string()}
_ORIGIN = [
    pa.field("ingested_at", TIME, nullable=False),
    pa.field("source_topic", pa.string(), nullable=False),
    pa.field("source_partition", pa.int32(), nullable=False),
    pa.field("source_offset", pa.int64(), nullable=False),
]
_PERSON = [pa.field("person_id", pa.string(), nullable=False), pa.field("event_timestamp", TIME, nullable=False)]


@dataclass(frozen=True)
class Dataset:
    """One history: the folder below the offline store and the schema of its files."""

    name: str
    schema: pa.Schema


PERSON_FEATURES = Dataset(
    "person_features",
    pa.schema([*_PERSON, *(pa.field(f.name, _ARROW_TYPES[f.dtype]) for f in FEATURES), pa.field("late", pa.bool_()), *_ORIGIN]),
)
PERSON_LABELS = Dataset("person_labels", pa.schema([*_PERSON, pa.field("obesity_level", pa.string(), nullable=False), *_ORIGIN]))
# One row a prediction. `event_timestamp` and `feature_*` trace the features, `ingested_at` and `source_*` the log entry.
PREDICTIONS = Dataset(
    "predictions",
    pa.schema(
        [
            *_PERSON,
            pa.field("request_id", pa.string(), nullable=False),
            pa.field("served_at", TIME, nullable=False),
            pa.field("model_name", pa.string(), nullable=False),
            pa.field("model_version", pa.string(), nullable=False),
            pa.field("model_alias", pa.string()),
            pa.field("obesity_level", pa.string(), nullable=False),
            *(pa.field(f"p_{level}", pa.float64(), nullable=False) for level in LEVELS),
            pa.field("features", pa.string()),
            pa.field("feature_topic", pa.string()),
            pa.field("feature_partition", pa.int32()),
            pa.field("feature_offset", pa.int64()),
            pa.field("shadow", pa.bool_()),  # null in files older than shadows: no shadow
            *_ORIGIN,
        ]
    ),
)
