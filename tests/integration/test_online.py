"""The online store on a real Redis: Feast reads what we write, and the guards hold there."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from feature_repo.features import FEATURE_NAMES
from feature_repo.materialise import materialise
from feature_repo.online import layout
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.temporal import STATE_VERSION, PersonState
from feature_repo.views import VIEW, define
from runtime.clock import FixedClock
from runtime.errors import Unavailable, UnknownStateVersion
from runtime.settings import Settings
from tests.online import NOON, TOPIC, located, read, stock_feast


@pytest.fixture
def settings(redis_url: str, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(Settings)


@pytest.fixture
def client(settings: Settings) -> Iterator[Redis]:
    with connect(settings) as made:
        yield made


@pytest.fixture
def writer(client: Redis, settings: Settings) -> OnlineWriter:
    return OnlineWriter(client, settings.project)


def test_stock_feast_reads_what_we_write(writer: OnlineWriter, settings: Settings, tmp_path: Path) -> None:
    """Promise: every type of feature, nulls included, reads back through Feast's own online store."""
    rows, states = materialise([located(0), located(1, hours=1, weight_kg=82, smokes=True, transport="Bike")], {})
    writer.apply(rows, states)
    store = stock_feast(settings, tmp_path)
    store.apply(define(settings).objects())
    answer = store.get_online_features(
        features=[f"{VIEW}:{name}" for name in FEATURE_NAMES],
        entity_rows=[{"person_id": "ann"}, {"person_id": "nobody"}],
    ).to_dict()
    expected = rows.to_pylist()[1]
    assert {name: answer[name][0] for name in FEATURE_NAMES} == {name: expected[name] for name in FEATURE_NAMES}
    assert {answer[name][1] for name in FEATURE_NAMES} == {None}


def test_we_read_what_stock_feast_reads(writer: OnlineWriter, settings: Settings) -> None:
    rows, states = materialise([located(5, smokes=False)], {})
    writer.apply(rows, states)
    found, missing = read(settings, "ann", "nobody")
    assert missing is None
    assert found is not None
    expected = rows.to_pylist()[0]
    assert found.values == {name: expected[name] for name in FEATURE_NAMES}
    assert (found.event_timestamp, found.source_topic, found.source_partition, found.source_offset) == (NOON, TOPIC, 2, 5)
    assert found.state == states["ann"] == writer.states(["ann"])["ann"]


def test_an_older_row_changes_the_state_but_not_the_row(writer: OnlineWriter, settings: Settings) -> None:
    """Promise: online never goes back in event time, yet a late record is remembered."""
    newest, states = materialise([located(0, hours=5, weight_kg=90)], {})
    writer.apply(newest, states)
    late, states = materialise([located(1, hours=1, weight_kg=70)], states)
    writer.apply(late, states)
    (found,) = read(settings, "ann")
    assert found is not None
    assert (found.values["weight_kg"], found.source_offset) == (90, 0)
    assert found.state is not None
    assert (found.state.records_seen, found.state.offset) == (2, 1)


def test_an_equal_event_time_replaces_the_row(writer: OnlineWriter, settings: Settings) -> None:
    rows, states = materialise([located(0, weight_kg=90), located(1, weight_kg=70)], {})
    for cut in (rows.slice(0, 1), rows.slice(1, 1)):
        writer.apply(cut, states)
    (found,) = read(settings, "ann")
    assert found is not None
    assert (found.values["weight_kg"], found.source_offset) == (70, 1)


LOG = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4), st.integers(40, 90)), min_size=1, max_size=12)


@given(drawn=LOG, again=st.lists(st.tuples(st.integers(0, 11), st.integers(1, 12)), max_size=6))
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_applying_again_out_of_order_or_in_other_cuts_changes_nothing(
    client: Redis, settings: Settings, drawn: list[tuple[str, int, int]], again: list[tuple[int, int]]
) -> None:
    """Promise: whatever stretches of the log are applied again, in whatever order, Redis holds what applying it once gives."""
    log = [located(number, each[0], each[1], float(each[2])) for number, each in enumerate(drawn)]
    project = f"{settings.project}.{client.incr(settings.project)}"
    writer = OnlineWriter(client, project)
    rows, states = materialise(log, {})
    writer.apply(rows, states)
    once = read(settings, *"abc", project=project)
    for start, length in again:
        if log[start : start + length]:
            part = rows.slice(start, length)
            held = materialise(log[: start + length], {})[1]
            writer.apply(part, held)
    assert read(settings, *"abc", project=project) == once


def test_a_new_epoch_starts_from_nothing_and_wins(client: Redis, settings: Settings) -> None:
    rows, states = materialise([located(9, hours=5, weight_kg=90)], {})
    OnlineWriter(client, settings.project).apply(rows, states)
    OnlineWriter(client, settings.project).advance_watermark(
        TOPIC, 2, None, 9, OnlineWriter(client, settings.project).server(TOPIC, 2)
    )
    rebuilt = OnlineWriter(client, settings.project, epoch=1)
    assert (rebuilt.states(["ann"]), rebuilt.watermark(TOPIC, 2)) == ({}, None)
    rows, states = materialise([located(0, weight_kg=70)], {"ann": PersonState(epoch=1)})
    rebuilt.apply(rows, states)
    (found,) = read(settings, "ann")
    assert found is not None
    assert (found.values["weight_kg"], found.source_offset) == (70, 0)


def test_a_row_older_than_the_ttl_is_expired_for_the_reader_and_stays_stored(writer: OnlineWriter, settings: Settings) -> None:
    """Promise: a TTL hides values and never the state, which the next record continues."""
    rows, states = materialise([located(0)], {})
    writer.apply(rows, states)
    hour = timedelta(hours=1)
    (fresh,) = read(settings, "ann", ttl=hour, clock=FixedClock(NOON + hour))
    (old,) = read(settings, "ann", ttl=hour, clock=FixedClock(NOON + hour + timedelta(microseconds=1)))
    assert fresh is not None
    assert old is not None
    assert (fresh.expired, fresh.values["weight_kg"]) == (False, 81)
    assert (old.expired, set(old.values.values()), old.state) == (True, {None}, states["ann"])
    assert read(settings, "ann") == [fresh]


def test_a_writer_at_another_epoch_is_of_the_same_project(writer: OnlineWriter) -> None:
    """Promise: states and watermarks of other epochs are not returned, and each epoch's writer returns its own."""
    rows, states = materialise([located(9)], {})
    writer.apply(rows, states)
    writer.advance_watermark(TOPIC, 2, None, 9, writer.server(TOPIC, 2))
    later = writer.at(3)
    assert (later.states(["ann"]), later.watermark(TOPIC, 2)) == ({}, None)
    assert (later.at(0).states(["ann"]), later.at(0).watermark(TOPIC, 2)) == (states, 9)
    rows, states = materialise([located(0)], {"ann": PersonState(epoch=3)})
    later.apply(rows, states)
    assert (writer.states(["ann"]), later.states(["ann"])) == ({}, states)


def test_a_watermark_moves_on_to_a_newer_epoch_and_never_back(writer: OnlineWriter) -> None:
    """Promise: a rebuild states its own, and a worker of the epoch before states nothing any more."""
    assert writer.advance_watermark(TOPIC, 2, None, 9, writer.server(TOPIC, 2))
    assert writer.at(1).advance_watermark(TOPIC, 2, None, 3, writer.at(1).server(TOPIC, 2))
    assert not writer.advance_watermark(TOPIC, 2, None, 10, writer.server(TOPIC, 2))
    assert not writer.advance_watermark(TOPIC, 2, 9, 10, writer.server(TOPIC, 2))
    assert writer.at(1).watermark(TOPIC, 2) == 3


def test_an_older_epochs_writer_changes_nothing_any_more(writer: OnlineWriter, settings: Settings) -> None:
    rows, states = materialise([located(0, weight_kg=70)], {"ann": PersonState(epoch=1)})
    writer.at(1).apply(rows, states)
    rows, states = materialise([located(9, hours=5, weight_kg=90)], {})
    writer.apply(rows, states)
    (found,) = read(settings, "ann")
    assert found is not None
    assert (found.values["weight_kg"], found.source_offset) == (70, 0)
    assert found.state is not None
    assert (found.state.epoch, found.state.offset) == (1, 0)


NEWER = {layout.field_of("of_newer_code"): b"\x12\x01x", layout.field_of("other", "other_view"): b"\x12\x01y"}


def stored_by_newer_code(client: Redis, project: str, person_id: str = "ann") -> bytes:
    """Make the person's row look as if code with one feature more had written it, and another view beside it."""
    key = layout.entity_key(person_id, project)
    names = layout.ROW_NAMES + layout.field_of("of_newer_code")
    client.hset(key, mapping={layout.NAMES_FIELD: names, b"_ts:other_view": b"\x08\x01", **NEWER})  # type: ignore[arg-type]
    return key


def test_a_row_of_older_code_leaves_no_newer_features_behind(client: Redis, writer: OnlineWriter, settings: Settings) -> None:
    """Promise: whoever reads the newer feature finds null, not the value of another record; other views' values stay."""
    rows, states = materialise([located(0), located(1, hours=1)], {})
    writer.apply(rows.slice(0, 1), states)
    key = stored_by_newer_code(client, settings.project)
    writer.apply(rows.slice(1, 1), states)
    assert [client.hget(key, field) for field in NEWER] == [None, b"\x12\x01y"]
    assert client.hget(key, b"_ts:other_view") == b"\x08\x01"
    assert client.hget(key, layout.NAMES_FIELD) == layout.ROW_NAMES


def test_a_row_that_is_refused_removes_nothing(client: Redis, writer: OnlineWriter, settings: Settings) -> None:
    rows, states = materialise([located(0, hours=1), located(1)], {})
    writer.apply(rows.slice(0, 1), states)
    key = stored_by_newer_code(client, settings.project)
    writer.apply(rows.slice(1, 1), states)
    assert [client.hget(key, field) for field in NEWER] == list(NEWER.values())


def test_what_a_rebuild_did_not_write_anew_can_be_removed(client: Redis, writer: OnlineWriter, settings: Settings) -> None:
    """Promise: rows and states of older epochs go, those of this one, of other views and of other projects stay."""
    rows, states = materialise([located(0), located(1, "bob"), located(2, "eve")], {})
    writer.apply(rows, states)
    OnlineWriter(client, f"x{settings.project}").apply(rows, states)
    kept = stored_by_newer_code(client, settings.project, "bob")
    rows, states = materialise([located(0)], {"ann": PersonState(epoch=2)})
    writer.at(2).apply(rows, states)
    assert (writer.remove_older(0), writer.remove_older(2), writer.remove_older(2)) == (0, 2, 0)
    ann, bob, eve = read(settings, "ann", "bob", "eve")
    assert (ann is not None, bob, eve) == (True, None, None)
    assert set(client.hkeys(kept)) == {b"_ts:other_view", layout.field_of("other", "other_view")}
    assert not client.exists(layout.entity_key("eve", settings.project))
    assert None not in read(settings, "ann", "bob", "eve", project=f"x{settings.project}")


@pytest.mark.parametrize(("version", "remedy"), [(STATE_VERSION + 1, "upgrade this process"), (0, "habitus backfill")])
def test_a_state_of_other_code_is_told_with_its_remedy(
    client: Redis, writer: OnlineWriter, settings: Settings, version: int, remedy: str
) -> None:
    """Promise: code that cannot continue a state says so and what to do; it never folds on from nothing."""
    rows, states = materialise([located(0)], {})
    writer.apply(rows, states)
    other = bytes([version]) + states["ann"].encode()[1:]
    client.hset(layout.entity_key("ann", settings.project), layout.STATE_FIELD, other)  # type: ignore[arg-type]
    for ask in (lambda: writer.states(["ann"]), lambda: read(settings, "ann")):
        with pytest.raises(UnknownStateVersion, match=f"version {version}") as told:
            ask()
        assert remedy in told.value.remedy
    assert writer.at(1).states(["ann"]) == {}


def test_scripts_that_redis_lost_are_loaded_again(client: Redis, writer: OnlineWriter) -> None:
    rows, states = materialise([located(0)], {})
    writer.apply(rows, states)
    client.script_flush()
    assert writer.advance_watermark(TOPIC, 2, None, 0, writer.server(TOPIC, 2))
    client.script_flush()
    writer.apply(*materialise([located(1)], states))
    assert writer.states(["ann"])["ann"].offset == 1


def test_a_watermark_is_kept_a_shard(writer: OnlineWriter) -> None:
    assert writer.watermark(TOPIC, 2) is None
    assert writer.advance_watermark(TOPIC, 2, None, 41, writer.server(TOPIC, 2))
    assert not writer.advance_watermark(TOPIC, 2, 40, 50, writer.server(TOPIC, 2))
    assert (writer.watermark(TOPIC, 2), writer.watermark(TOPIC, 3)) == (41, None)


def test_a_watermark_is_not_moved_on_another_server_than_the_rows_went_to(writer: OnlineWriter) -> None:
    """Promise: after a failover between rows and watermark nothing is vouched for, though the replica's watermark fits."""
    server = writer.server(TOPIC, 2)
    assert writer.server(TOPIC, 3) == server
    assert not writer.advance_watermark(TOPIC, 2, None, 41, "0" * len(server))
    assert writer.watermark(TOPIC, 2) is None
    assert writer.advance_watermark(TOPIC, 2, None, 41, server)


def test_a_redis_that_may_evict_is_refused(client: Redis, writer: OnlineWriter) -> None:
    writer.refuse_eviction()
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        with pytest.raises(Unavailable, match="set it to noeviction"):
            writer.refuse_eviction()
    finally:
        client.config_set("maxmemory-policy", "noeviction")


def test_a_redis_that_is_away_is_unavailable(settings_for: Callable[..., Settings]) -> None:
    away = settings_for(Settings, redis_url="redis://127.0.0.1:1/0")
    writer = OnlineWriter(connect(away), "x")
    rows, states = materialise([located(0)], {})
    for call in (
        lambda: writer.states(["ann"]),
        lambda: writer.apply(rows, states),
        lambda: writer.watermark(TOPIC, 0),
        lambda: writer.advance_watermark(TOPIC, 0, None, 1, writer.server(TOPIC, 0)),
        lambda: writer.remove_older(1),
        writer.refuse_eviction,
    ):
        with pytest.raises(Unavailable, match="redis"):
            call()
