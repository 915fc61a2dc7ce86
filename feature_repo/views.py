"""Feast objects, derived from the feature table: entity `person`, view `person_features`, feature service `obesity_level_v1`.

Place in the flow: `definitions` instantiates them for the Feast command, `store` for our processes.
"""

from dataclasses import dataclass
from datetime import timedelta

from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.data_format import ParquetFormat
from feast.types import Bool, Float64, Int64, String

from feature_repo.features import FEATURES
from feature_repo.offline.epochs import Epochs
from feature_repo.offline.files import open_files
from feature_repo.offline.history import epoch_folder
from feature_repo.online.layout import JOIN_KEY, VIEW
from runtime.settings import Settings

FEATURE_SERVICE = "obesity_level_v1"
HISTORY_SOURCE = f"{VIEW}_history"
_FEAST_TYPES = {"float": Float64, "int": Int64, "bool": Bool, "category": String}


@dataclass(frozen=True)
class Definitions:
    """What is registered with Feast."""

    person: Entity
    source: FileSource
    person_features: FeatureView
    obesity_level_v1: FeatureService

    def objects(self) -> list[object]:
        """All of them, for `FeatureStore.apply`."""
        return [self.person, self.source, self.person_features, self.obesity_level_v1]


def define(settings: Settings) -> Definitions:
    """The definitions over the Parquet history of `settings`, in the epoch that readers read."""
    person = Entity(
        name="person", join_keys=[JOIN_KEY], value_type=ValueType.STRING, description="A person, as producers name them"
    )
    source = FileSource(
        name=HISTORY_SOURCE,
        path=history_pattern(settings),
        file_format=ParquetFormat(),
        timestamp_field="event_timestamp",
        created_timestamp_column="ingested_at",
        description="The write-ahead log that the stream keeps; times in UTC",
    )
    view = FeatureView(
        name=VIEW,
        entities=[person],
        ttl=timedelta(0),
        schema=[
            Field(
                name=f.name,
                dtype=_FEAST_TYPES[f.dtype],
                description=f"{f.description} [{f.unit}]",
                tags={"kind": f.kind},
            )
            for f in FEATURES
        ],
        source=source,
        online=True,
        description="Attributes, derived features and features over time of a person at the time of a record",
    )
    service = FeatureService(name=FEATURE_SERVICE, features=[view], description="The input contract of the obesity-level models")
    return Definitions(person, source, view, service)


def history_pattern(settings: Settings) -> str:
    """Where the files are that readers of the features read, as a pattern."""
    epoch = Epochs(open_files(settings.offline), VIEW).current()
    return f"{settings.offline}/{epoch_folder(VIEW, epoch)}dt=*/*.parquet"
