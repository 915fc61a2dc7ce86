"""What Feast is told of the history: the files of the epoch that readers read, and of no other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from feature_repo.materialise import Located, materialise
from feature_repo.offline.history import OffsetRange, open_history
from feature_repo.person import PersonRecord
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.store import apply_definitions, open_store
from feature_repo.views import FEATURE_SERVICE
from runtime.settings import Settings

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def write(settings: Settings, epoch: int, weight_kg: float, *, at: datetime) -> None:
    fields = {"person_id": "ann", "gender": "Female", "age_years": 30, "height_m": 1.7, "weight_kg": weight_kg}
    record = PersonRecord.model_validate(fields | {"event_timestamp": at})
    rows, _ = materialise([Located(record, "person.records", 0, 0, at)], {}, epoch)
    open_history(settings, PERSON_FEATURES).at(epoch).append(rows, OffsetRange("person.records", 0, 0, 0), at)


def joined_weights(settings: Settings) -> list[float]:
    store = open_store(settings)
    asked = pd.DataFrame({"person_id": ["ann"], "event_timestamp": [NOON + timedelta(days=2)]})
    found = store.get_historical_features(entity_df=asked, features=store.get_feature_service(FEATURE_SERVICE)).to_df()
    return list(found["weight_kg"])


def test_feast_reads_the_epoch_that_readers_read_and_no_other(settings_for: Callable[..., Any]) -> None:
    """Promise: an epoch in the making is not seen, and after the switch nothing of the old one is."""
    settings = settings_for(Settings)
    write(settings, 0, 60.0, at=NOON)
    write(settings, 1, 61.0, at=NOON + timedelta(days=1))
    apply_definitions(settings)
    assert joined_weights(settings) == [60.0]
    open_history(settings, PERSON_FEATURES).epochs.publish(1)
    apply_definitions(settings)
    assert joined_weights(settings) == [61.0]
