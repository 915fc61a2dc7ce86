"""The stream and Feast writing the same persons on a real Redis: nobody sets a row back, and no state is lost."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.types import Float64, String
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from feature_repo.materialise import materialise
from feature_repo.offline.history import OffsetRange, epoch_folder, open_history
from feature_repo.online import layout
from feature_repo.online.reader import OnlineRow
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.online_store import PersonRedisOnlineStore
from feature_repo.schemas import PERSON_FEATURES
from feature_repo.store import apply_definitions, open_store
from feature_repo.temporal import PersonState
from feature_repo.views import VIEW, define
from runtime.settings import Settings
from tests.online import NOON, TOPIC, located, read, stock_feast

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PERSON = Entity(name="person", join_keys=["person_id"], value_type=ValueType.STRING)
OTHER = FeatureView(
    name="other",
    entities=[PERSON],
    schema=[Field(name="person_id", dtype=String), Field(name="f", dtype=Float64)],
    source=FileSource(path="other.parquet", timestamp_field="event_timestamp"),
)


@pytest.fixture
def settings(redis_url: str, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(Settings)


@pytest.fixture
def client(settings: Settings) -> Iterator[Redis]:
    with connect(settings) as made:
        yield made  # type: ignore[misc]  # not a cluster here


@pytest.fixture
def writer(client: Redis, settings: Settings) -> OnlineWriter:
    return OnlineWriter(client, settings.project)


@pytest.fixture
def opened(settings: Settings) -> Iterator[FeatureStore]:
    """Our Feast project as Feast's command would open it, nothing registered."""
    made = open_store(settings)
    yield made
    asyncio.run(store_of(made).close())


@pytest.fixture
def feast(opened: FeatureStore, settings: Settings) -> FeatureStore:
    """The same with the definitions registered."""
    apply_definitions(settings)
    return opened


def store_of(feast: FeatureStore) -> PersonRedisOnlineStore:
    made = feast._get_provider().online_store
    assert isinstance(made, PersonRedisOnlineStore)
    return made


def one(settings: Settings, person_id: str = "ann") -> OnlineRow:
    """What the predictor reads of the person."""
    (found,) = read(settings, person_id)
    assert found is not None
    return found


def person_features(settings: Settings) -> FeatureView:
    """Our view as the registry gives it back, with the entity's column."""
    view = define(settings).person_features
    view.entity_columns = [Field(name="person_id", dtype=String)]
    return view


def weight_of(settings: Settings) -> float | None:
    """Ann's weight online."""
    weight: float | None = one(settings).values["weight_kg"]  # noqa: PD011  no pandas here
    return weight


def as_frame(rows: pa.Table, **changed: Any) -> pd.DataFrame:
    """Rows as one writes them with Feast."""
    return rows.to_pandas().drop(columns=["source_topic", "source_partition", "source_offset", "late"]).assign(**changed)


def write_other(feast: FeatureStore, person_id: str, expires_s: int | None = None) -> bytes:
    """A row of another view of the same entity; answers the person's key."""
    config = feast.config.model_copy(deep=True)
    config.online_store.key_ttl_seconds = expires_s
    entity = EntityKey(join_keys=["person_id"], entity_values=[Value(string_val=person_id)])
    store_of(feast).online_write_batch(config, OTHER, [(entity, {"f": Value(double_val=1)}, NOON, None)], None)
    return layout.entity_key(person_id, feast.config.project)


LOG = [located(0, weight_kg=90), located(1, hours=5, weight_kg=80), located(2, "bob")]


@pytest.fixture
def rows(settings: Settings) -> pa.Table:
    """The rows of LOG, in the history."""
    made, _ = materialise(LOG, {})
    open_history(settings, PERSON_FEATURES).append(made, OffsetRange(TOPIC, 2, 0, 2), NOON)
    return made


def test_materialising_fills_what_is_missing_and_leaves_what_the_stream_wrote(
    feast: FeatureStore, writer: OnlineWriter, settings: Settings, rows: pa.Table
) -> None:
    """Promise: `feast materialize` of all or of an older stretch sets no row back, and the stream takes over what it filled."""
    writer.apply(rows.slice(0, 2), materialise(LOG[:2], {})[1])
    streamed = one(settings)
    feast.materialize(NOON - DAY, NOON + HOUR)
    feast.materialize(NOON - DAY, NOON + DAY)
    assert one(settings) == streamed
    filled = one(settings, "bob")
    assert (filled.source_topic, filled.source_partition, filled.source_offset, filled.state) == (None, None, None, None)
    writer.apply(rows, materialise(LOG, {})[1])
    sources = {"source_topic": TOPIC, "source_partition": 2, "source_offset": 2}
    assert one(settings, "bob") == replace(filled, **sources, state=writer.states(["bob"])["bob"])


def test_incremental_materialisation_and_writes_respect_the_stream_too(
    feast: FeatureStore, writer: OnlineWriter, settings: Settings, rows: pa.Table
) -> None:
    writer.apply(rows.slice(0, 2), materialise(LOG[:2], {})[1])
    streamed = one(settings)
    feast.materialize_incremental(NOON + HOUR)
    feast.write_to_online_store(VIEW, as_frame(rows.slice(0, 2), weight_kg=1.0))
    asyncio.run(write_async(feast, as_frame(rows.slice(0, 2), weight_kg=1.0)))
    assert one(settings) == streamed


async def write_async(feast: FeatureStore, frame: pd.DataFrame) -> None:
    try:
        await feast.write_to_online_store_async(VIEW, frame)
    finally:
        await store_of(feast).close()


def test_a_newer_row_that_feast_writes_replaces_whole_and_is_replaced_whole(
    feast: FeatureStore, client: Redis, writer: OnlineWriter, settings: Settings
) -> None:
    """Promise: neither leaves a feature of the other's row behind, and the state goes on with the log alone."""
    log = [located(0), located(1, hours=8, weight_kg=82), located(2, hours=9, weight_kg=83)]
    made, states = materialise(log[:1], {})
    writer.apply(made, states)
    key, unknown = layout.entity_key("ann", settings.project), layout.field_of("of_newer_code")
    client.hset(key, mapping={layout.NAMES_FIELD: layout.ROW_NAMES + unknown, unknown: b"\x12\x01x"})  # type: ignore[arg-type]
    written = as_frame(made, weight_kg=99.0).assign(event_timestamp=NOON + 9 * HOUR)
    feast.write_to_online_store(VIEW, written)
    found = one(settings)
    assert (weight_of(settings), found.source_offset, found.state) == (99, None, states["ann"])
    assert not client.hexists(key, unknown)  # type: ignore[arg-type]
    client.hset(key, mapping={layout.NAMES_FIELD: layout.ROW_NAMES + unknown, unknown: b"\x12\x01x"})  # type: ignore[arg-type]

    for offset, expected in ((1, (99, None)), (2, (83, 2))):
        made, states = materialise(log[offset : offset + 1], states)
        writer.apply(made, states)
        found = one(settings)
        assert (weight_of(settings), found.source_offset) == expected
        assert found.state == states["ann"]
    assert not client.hexists(key, unknown)  # type: ignore[arg-type]


def test_feast_writes_in_the_epoch_that_it_reads(
    feast: FeatureStore, writer: OnlineWriter, settings: Settings, rows: pa.Table
) -> None:
    """Promise: rows of an old history never replace those of a rebuilt one, however new their event time."""
    made, states = materialise(LOG[:1], {"ann": PersonState(epoch=2)})
    writer.at(2).apply(made, states)
    feast.materialize(NOON - DAY, NOON + DAY)
    assert (weight_of(settings), one(settings).source_offset) == (90, 0)

    view = feast.get_feature_view(VIEW)
    assert store_of(feast).epoch_of(view) == 0
    view.batch_source.file_options.uri = f"{settings.offline}/{epoch_folder(VIEW, 2)}dt=*/*.parquet"
    assert (store_of(feast).epoch_of(view), store_of(feast).epoch_of(OTHER)) == (2, None)
    feast.apply([view])
    feast.refresh_registry()
    feast.write_to_online_store(VIEW, as_frame(rows.slice(1, 1)))
    assert (weight_of(settings), one(settings).source_offset) == (80, None)
    assert writer.remove_older(2) == 1  # bob, whom Feast filled from the old history
    assert [each is None for each in read(settings, "ann", "bob")] == [False, True]


@given(
    log=st.lists(st.tuples(st.booleans(), st.integers(-2, 2)), min_size=1, max_size=8),
    again=st.lists(st.integers(0, 7), max_size=4),
)
@hypothesis_settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_stream_and_feast_together_keep_the_newest_row(
    feast: FeatureStore, writer: OnlineWriter, settings: Settings, log: list[tuple[bool, int]], again: list[int]
) -> None:
    """Promise: the greatest (event time, offset) stays, any record before Feast's row of its time, Feast's last of its own."""
    store_of(feast).delete_entity_values(feast.config, ["person_id"])
    made, _ = materialise([located(place, hours=each[1], weight_kg=40.0 + place) for place, each in enumerate(log)], {})
    best, expected = (-9, -1), 0
    for place in [*range(len(log)), *(each for each in again if each < len(log))]:
        streamed, hours = log[place]
        if streamed:
            writer.apply(made.slice(place, 1), {"ann": PersonState(offset=place)})
        else:
            feast.write_to_online_store(VIEW, as_frame(made.slice(place, 1)))
        rank = (hours, place if streamed else -1)
        if rank >= best:
            best, expected = rank, place
        assert weight_of(settings) == 40 + expected


def test_what_a_stock_client_wrote_over_a_row_of_ours_is_told_by_its_time(
    opened: FeatureStore, writer: OnlineWriter, settings: Settings, tmp_path: Path
) -> None:
    """Promise: its event time counts, not that of our record, which is not taken for its origin any more."""
    log = [located(0), located(1, hours=5), located(2, hours=9)]
    made, _ = materialise(log, {})
    writer.apply(made.slice(0, 1), {"ann": PersonState(offset=0)})
    config, stock = stock_feast(settings, tmp_path).config, RedisOnlineStore()
    entity = EntityKey(join_keys=["person_id"], entity_values=[Value(string_val="ann")])
    values = {"weight_kg": Value(double_val=70)}
    stock.online_write_batch(config, person_features(settings), [(entity, values, NOON + 8 * HOUR, None)], None)
    stock._get_client(config.online_store).close()
    assert (weight_of(settings), one(settings).source_offset) == (70, None)
    writer.apply(made.slice(1, 1), {"ann": PersonState(offset=1)})
    assert (weight_of(settings), one(settings).source_offset) == (70, None)
    writer.apply(made.slice(2, 1), {"ann": PersonState(offset=2)})
    assert (weight_of(settings), one(settings).source_offset) == (81, 2)


def test_a_key_that_holds_a_state_never_expires(
    opened: FeatureStore, client: Redis, writer: OnlineWriter, settings: Settings
) -> None:
    """Promise: `key_ttl_seconds` is as in Feast's store, but the stream's state outlives it, whoever was first."""
    made, states = materialise([located(0)], {})
    writer.apply(made, states)
    ann, bob = write_other(opened, "ann", expires_s=100), write_other(opened, "bob", expires_s=100)
    assert client.ttl(ann) == -1
    assert 0 < client.ttl(bob) <= 100  # type: ignore[operator]
    writer.apply(*materialise([located(1, "bob")], {}))
    assert client.ttl(bob) == -1


@pytest.fixture
def filled(opened: FeatureStore, writer: OnlineWriter, client: Redis, settings: Settings) -> bytes:
    """Ann's row, state and watermark, another view's row, and the same of a project whose name ends alike; Ann's key."""
    made, states = materialise([located(0)], {})
    for each in (writer, OnlineWriter(client, f"x{settings.project}")):
        each.apply(made, states)
        assert each.advance_watermark(TOPIC, 2, None, 0, each.server(TOPIC, 2))
    return write_other(opened, "ann")


def require_untouched(client: Redis, project: str) -> None:
    stranger = OnlineWriter(client, project)
    assert (stranger.watermark(TOPIC, 2), len(stranger.states(["ann"]))) == (0, 1)
    assert client.hexists(layout.entity_key("ann", project), layout.TIMESTAMP_FIELD)  # type: ignore[arg-type]


def test_applying_the_definitions_again_changes_nothing(
    settings: Settings, client: Redis, writer: OnlineWriter, filled: bytes
) -> None:
    before = client.hgetall(filled)
    apply_definitions(settings)
    assert client.hgetall(filled) == before
    assert writer.watermark(TOPIC, 2) == 0


def test_a_view_that_is_removed_takes_its_state_with_it_and_nothing_else(
    opened: FeatureStore, settings: Settings, client: Redis, writer: OnlineWriter, filled: bytes
) -> None:
    """Promise: the watermark goes too, or a worker would take the rows for stored."""
    store_of(opened).update(opened.config, [person_features(settings)], [OTHER], [], [PERSON], partial=False)
    assert set(client.hkeys(filled)) == {b"_ts:other", layout.field_of("f", "other")}
    assert writer.watermark(TOPIC, 2) is None
    require_untouched(client, f"x{settings.project}")


def test_a_removed_view_leaves_the_stream_alone(
    opened: FeatureStore, settings: Settings, client: Redis, writer: OnlineWriter, filled: bytes
) -> None:
    """Promise: the other way round as well."""
    store_of(opened).update(opened.config, [OTHER], [person_features(settings)], [], [PERSON], partial=False)
    assert not {b"_ts:other", layout.field_of("f", "other")} & set(client.hkeys(filled))
    assert (writer.watermark(TOPIC, 2), len(writer.states(["ann"]))) == (0, 1)


def test_teardown_leaves_nothing_of_the_project(
    opened: FeatureStore, settings: Settings, client: Redis, writer: OnlineWriter, filled: bytes
) -> None:
    store_of(opened).teardown(opened.config, [person_features(settings)], [PERSON])
    assert not client.exists(filled)
    assert writer.watermark(TOPIC, 2) is None
    require_untouched(client, f"x{settings.project}")
