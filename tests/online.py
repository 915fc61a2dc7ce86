"""Persons' rows for the tests of the online store, and other clients' views of it."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import FeatureStore, RepoConfig
from redis.connection import parse_url

from feature_repo.features import FEATURE_NAMES
from feature_repo.materialise import Located
from feature_repo.online.reader import OnlineReader, OnlineRow, open_hashes
from feature_repo.person import PersonRecord
from runtime.settings import Settings

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
TOPIC = "person.records"


def located(offset: int, person_id: str = "ann", hours: int = 0, weight_kg: float = 81.0, **fields: Any) -> Located:
    """A record of `person_id`, `hours` after noon."""
    record = PersonRecord(
        person_id=person_id,
        event_timestamp=NOON + timedelta(hours=hours),
        gender="Male",
        age_years=40,
        height_m=1.8,
        weight_kg=weight_kg,
        **fields,
    )
    return Located(record, TOPIC, 2, offset, NOON)


def read(settings: Settings, *person_ids: str, project: str | None = None, **options: Any) -> list[OnlineRow | None]:
    """Rows with all features and states, through the predictor's reader with its `options`."""

    async def ask() -> list[OnlineRow | None]:
        reader = OnlineReader(open_hashes(settings), project or settings.project, **options)
        try:
            return await reader.read(person_ids, FEATURE_NAMES, with_state=True)
        finally:
            await reader.close()

    return asyncio.run(ask())


def feast_config(settings: Settings, folder: Path, online_store: dict[str, Any]) -> RepoConfig:
    """A Feast project on the tests' Redis, with a registry of its own in `folder`."""
    return RepoConfig(
        project=settings.project,
        provider="local",
        registry=str(folder / f"{online_store['type']}.db"),
        online_store=online_store,
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
        repo_path=folder,
    )


def stock_feast(settings: Settings, folder: Path, **options: Any) -> FeatureStore:
    """Feast with its own Redis store, knowing nothing of us."""
    at = parse_url(settings.redis_url.get_secret_value())
    address = f"{at['host']}:{at['port']},db={at.get('db', 0)}"
    return FeatureStore(config=feast_config(settings, folder, {"type": "redis", "connection_string": address, **options}))
