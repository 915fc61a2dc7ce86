"""The Feast store on a real Redis: in any project, beside Feast's own store, and beside the stream."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
import pytest
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, PushSource, RepoConfig, ValueType
from feast.data_source import PushMode
from feast.infra.online_stores.redis import RedisOnlineStore
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import (
    BoolList,
    BytesList,
    DoubleList,
    FloatList,
    Int32List,
    Int64List,
    StringList,
    Value,
)
from feast.types import Float64, Int64, String
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis import Redis

from feature_repo.online import guard, layout
from feature_repo.online.guarded_store import FeastRow, GuardedRedisOnlineStore, ReadRow
from feature_repo.online.rows import connect
from runtime.clock import FixedClock
from runtime.settings import Settings
from tests.online import NOON, feast_config, stock_feast

T = TypeVar("T")

HOUR = timedelta(hours=1)
GUARDED = "feature_repo.online.guarded_store.GuardedRedisOnlineStore"
few = hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

DRIVER = Entity(name="driver", join_keys=["driver_id"], value_type=ValueType.INT64)
ROUTE = Entity(name="route", join_keys=["route"], value_type=ValueType.STRING)


def view(name: str, *features: str, entities: Sequence[Entity] = (DRIVER,), ttl: timedelta = timedelta(0)) -> FeatureView:
    """A view of some project; what Redis holds of it does not depend on the features' types."""
    keys = [Field(name=each.join_key, dtype=Int64 if each is DRIVER else String) for each in entities]
    source = PushSource(name=f"{name}_push", batch_source=FileSource(path=f"{name}.parquet", timestamp_field="event_timestamp"))
    schema = [*keys, *(Field(name=each, dtype=Float64) for each in features)]
    return FeatureView(name=name, entities=list(entities), ttl=ttl, schema=schema, source=source)


def driver(number: int) -> EntityKey:
    return EntityKey(join_keys=["driver_id"], entity_values=[Value(int64_val=number)])


def row(number: int, hours: float, created: datetime | None = None, **values: float) -> FeastRow:
    """A row of driver `number`, `hours` after noon."""
    return driver(number), {name: Value(double_val=each) for name, each in values.items()}, NOON + HOUR * hours, created


def doubles(rows: Sequence[ReadRow]) -> list[dict[str, float] | None]:
    """The numbers in what `online_read` answers."""
    return [None if values is None else {name: each.double_val for name, each in values.items()} for _, values in rows]


def run(place: "Place", answer: Coroutine[Any, Any, T]) -> T:
    """What `answer` gives on an event loop of its own, after which the store closes its connections."""

    async def closing() -> T:
        try:
            return await answer
        finally:
            await place.store.close()

    return asyncio.run(closing())


def place_of(feast: FeatureStore, client: Redis) -> "Place":
    """The store that `feast` writes to."""
    return Place(feast._get_provider().online_store, feast.config, client)


@pytest.fixture
def settings(redis_url: str, settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(Settings)


@pytest.fixture
def client(settings: Settings) -> Iterator[Redis]:
    with connect(settings) as made:
        yield made  # type: ignore[misc]  # not a cluster here


@dataclass
class Place:
    """A store and the project that it serves."""

    store: RedisOnlineStore
    config: RepoConfig
    client: Redis

    def write(self, table: FeatureView, *rows: FeastRow) -> None:
        self.store.online_write_batch(self.config, table, list(rows), None)

    def read(self, table: FeatureView, *entities: EntityKey) -> list[ReadRow]:
        return self.store.online_read(self.config, table, list(entities))  # type: ignore[no-any-return]

    def cleared(self) -> "Place":
        """The same with nothing stored, for the next example."""
        self.client.delete(*self.client.keys(f"*{self.config.project}") or ["none"])
        return self

    def hashes(self) -> dict[bytes, dict[bytes, bytes]]:
        """All that is stored, as it is."""
        return {key: self.client.hgetall(key) for key in self.client.keys(f"*{self.config.project}")}


@pytest.fixture
def configured(settings: Settings, tmp_path: Path) -> Callable[..., RepoConfig]:
    """Makes the configuration of a project that uses the guarded store with some options."""

    def make(**options: Any) -> RepoConfig:
        return feast_config(settings, tmp_path, {"type": GUARDED, "connection_string": settings.redis_url, **options})

    return make


@pytest.fixture
def here(client: Redis, configured: Callable[..., RepoConfig]) -> Iterator[Place]:
    """The guarded store."""
    store = GuardedRedisOnlineStore()
    yield Place(store, configured(), client)
    asyncio.run(store.close())


@pytest.fixture
def stock(client: Redis, settings: Settings, tmp_path: Path) -> Iterator[Place]:
    """Feast's own store, of the same project."""
    made = Place(RedisOnlineStore(), stock_feast(settings, tmp_path).config, client)
    yield made
    made.store._get_client(made.config.online_store).close()


FLOATS = st.floats(width=32)
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20)
VALUES = st.one_of(
    st.just(Value()),
    st.builds(Value, int32_val=INT32),
    st.builds(Value, int64_val=INT64),
    st.builds(Value, float_val=FLOATS),
    st.builds(Value, double_val=st.floats()),
    st.builds(Value, bool_val=st.booleans()),
    st.builds(Value, string_val=TEXT),
    st.builds(Value, bytes_val=st.binary(max_size=300)),
    st.builds(Value, unix_timestamp_val=INT64),
    st.lists(INT32, max_size=4).map(lambda each: Value(int32_list_val=Int32List(val=each))),
    st.lists(INT64, max_size=4).map(lambda each: Value(int64_list_val=Int64List(val=each))),
    st.lists(FLOATS, max_size=4).map(lambda each: Value(float_list_val=FloatList(val=each))),
    st.lists(st.floats(), max_size=4).map(lambda each: Value(double_list_val=DoubleList(val=each))),
    st.lists(st.booleans(), max_size=4).map(lambda each: Value(bool_list_val=BoolList(val=each))),
    st.lists(TEXT, max_size=4).map(lambda each: Value(string_list_val=StringList(val=each))),
    st.lists(st.binary(max_size=9), max_size=4).map(lambda each: Value(bytes_list_val=BytesList(val=each))),
    st.lists(INT64, max_size=4).map(lambda each: Value(unix_timestamp_list_val=Int64List(val=each))),
)
MOMENTS = st.datetimes(datetime(1900, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC) | st.none())  # noqa: DTZ001  the bounds are naive
NAMES = ("f", "g_µ", "h")


PAIRS = [view(name, *NAMES, entities=[DRIVER, ROUTE]) for name in ("pairs", "pairs_too")]
ROWS = st.tuples(*[st.dictionaries(st.sampled_from(NAMES), VALUES, min_size=1)] * len(PAIRS))
ENTITIES = st.builds(
    lambda number, route: EntityKey(
        join_keys=["route", "driver_id"], entity_values=[Value(string_val=route), Value(int64_val=number)]
    ),
    INT64,
    TEXT,
)


@given(entity=ENTITIES, rows=ROWS, moment=MOMENTS)
@few
def test_what_we_write_is_byte_by_byte_what_feasts_own_store_writes(
    here: Place, stock: Place, entity: EntityKey, rows: Sequence[dict[str, Value]], moment: datetime
) -> None:
    """Promise: either store reads what the other wrote: all types, nulls, composite keys, several views of an entity."""
    held = []
    for place in (here, stock):
        place.cleared()
        for table, values in zip(PAIRS, rows, strict=True):
            place.write(table, (entity, values, moment, None))
        held.append(place.hashes())
    assert held[0] == held[1]
    assert len(held[0]) == 1
    for table, values in zip(PAIRS, rows, strict=True):
        ((found_at, found),) = here.read(table, entity)
        assert found_at == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        assert found is not None
        assert {name: value.SerializeToString() for name, value in found.items()} == {
            name: values.get(name, Value()).SerializeToString() for name in NAMES
        }


ANY = view("any", "f")
TIMES = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


@given(held=TIMES, drawn=TIMES, close=st.none() | st.integers(-2, 2))
@few
def test_a_row_of_any_client_is_compared_by_its_event_time(
    here: Place, held: datetime, drawn: datetime, close: int | None
) -> None:
    """Promise: exact to the microsecond, before 1970 and beyond a double's precision; the same time again replaces."""
    moment = drawn if close is None or held.year in {1, 9999} else held + timedelta(microseconds=close)
    here.cleared().write(ANY, row(1, 0, f=1))
    (key,) = here.hashes()
    here.client.hset(key, "_ts:any", layout.encode_timestamp(held))  # type: ignore[arg-type]  # the value is bytes
    here.write(ANY, (driver(1), {"f": Value(double_val=2)}, moment, None))
    ((found_at, found),) = here.read(ANY, driver(1))
    assert (found_at, doubles([(found_at, found)])) == ((moment, [{"f": 2}]) if moment >= held else (held, [{"f": 1}]))


@given(
    writes=st.lists(st.tuples(st.integers(1, 3), st.integers(-2, 2)), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=3),
)
@few
def test_the_newest_row_stays_and_of_equals_the_last_written(here: Place, writes: list[tuple[int, int]], cuts: list[int]) -> None:
    """Promise: within a batch, between batches, in whatever cuts, from threads or asyncio."""
    here.cleared()
    rows = [row(number, hours, f=place) for place, (number, hours) in enumerate(writes)]
    for number, (start, end) in enumerate(pairwise(sorted({0, *cuts, len(rows)}))):
        if number % 2:
            run(here, here.store.online_write_batch_async(here.config, ANY, rows[start:end], None))
        else:
            here.write(ANY, *rows[start:end])
    expected: dict[int, tuple[int, int]] = {}
    for place, (number, hours) in enumerate(writes):
        if hours >= expected.get(number, (-9, 0))[0]:
            expected[number] = (hours, place)
    found = doubles(here.read(ANY, *map(driver, (1, 2, 3))))
    assert found == [{"f": float(expected[number][1])} if number in expected else None for number in (1, 2, 3)]


def test_a_great_write_goes_in_parts_and_tells_its_progress(here: Place) -> None:
    told: list[int] = []
    rows = [row(number, 0, f=number) for number in range(guard.AT_ONCE + 7)]
    here.store.online_write_batch(here.config, ANY, rows, told.append)
    here.store.online_write_batch(here.config, ANY, [], told.append)
    assert told == [guard.AT_ONCE, 7]
    assert doubles(here.read(ANY, driver(guard.AT_ONCE + 6))) == [{"f": guard.AT_ONCE + 6}]


def test_rows_may_lack_features_that_others_have(here: Place) -> None:
    """Promise: as in Feast's store a row of a view that Feast alone writes adds to what is there."""
    table = view("some", "f", "g")
    here.write(table, row(1, 0, f=1, g=2), row(2, 0, g=3), row(1, 1, f=4))
    rows = here.read(table, driver(1), driver(2))
    assert doubles(rows) == [{"f": 4, "g": 2}, {"f": 0, "g": 3}]
    assert rows[1][1] is not None
    assert not rows[1][1]["f"].WhichOneof("val")


def test_a_wide_row_is_stored(here: Place) -> None:
    """Promise: a view may have more features than Lua unpacks at once."""
    names = [f"f{number}" for number in range(9_000)]
    table = view("wide", *names)
    here.write(table, row(1, 0, **dict.fromkeys(names, 1.5)))
    found = here.store.online_read(here.config, table, [driver(1)], ["f0", "f8999"])
    assert doubles(found) == [{"f0": 1.5, "f8999": 1.5}]


def test_scripts_that_redis_lost_are_loaded_again(here: Place) -> None:
    for hours in (1, 2):
        here.client.script_flush()
        here.write(ANY, row(1, hours, f=hours))
        here.client.script_flush()
        run(here, here.store.online_write_batch_async(here.config, ANY, [row(2, hours, f=hours)], None))
    assert doubles(here.read(ANY, driver(1), driver(2))) == [{"f": 2}, {"f": 2}]


def test_each_event_loop_has_connections_of_its_own(here: Place) -> None:
    """Promise: a store outlives an event loop, which its connections do not."""

    async def client() -> Any:
        return await here.store._get_client_async(here.config.online_store)

    assert asyncio.run(client()) is not asyncio.run(client())


def test_reading_leaves_the_list_of_names_as_it_was(here: Place) -> None:
    asked = ["f"]
    table = view("some", "f", "g")
    here.write(table, row(1, 0, f=1, g=2))
    assert doubles(here.store.online_read(here.config, table, [driver(1)], asked)) == [{"f": 1}]
    assert doubles(run(here, here.store.online_read_async(here.config, table, [driver(1)], asked))) == [{"f": 1}]
    assert asked == ["f"]


REFS = ("lasting:f", "passing:p", "lasting:g")


@dataclass
class Drivers:
    """A project whose drivers have a view without TTL and one of an hour; driver 1 has rows of both, two hours old."""

    feast: FeatureStore
    place: Place
    lasting: FeatureView = field(default_factory=lambda: view("lasting", "f", "g"))
    passing: FeatureView = field(default_factory=lambda: view("passing", "p", ttl=HOUR))

    def __post_init__(self) -> None:
        self.feast.apply([DRIVER, self.lasting, self.passing])
        self.place.write(self.lasting, row(1, 0, f=1, g=1))
        self.place.write(self.passing, row(1, 0, p=1))
        self.place.store.clock = FixedClock(NOON + 2 * HOUR)

    def statuses(self, refs: Sequence[str] = REFS, **options: Any) -> "Answer":
        """Status and value of each feature of drivers 1, 2 and 1 again; asked in both ways, which answer alike."""
        asked = {"features": list(refs), "entity_rows": [{"driver_id": number} for number in (1, 2, 1)], **options}
        answers = [self.feast.get_online_features(**asked), run(self.place, self.feast.get_online_features_async(**asked))]
        one, other = (_told(answer.proto) for answer in answers)
        assert one == other
        assert one.pop("driver_id") == [("PRESENT", 1), ("PRESENT", 2), ("PRESENT", 1)]
        return one


@pytest.fixture
def drivers(client: Redis, configured: Callable[..., RepoConfig]) -> Iterator[Callable[..., Drivers]]:
    made = []

    def make(**options: Any) -> Drivers:
        feast = FeatureStore(config=configured(**options))
        made.append(Drivers(feast, place_of(feast, client)))
        return made[-1]

    yield make
    for each in made:
        asyncio.run(each.place.store.close())


Answer = dict[str, list[tuple[str, float | None]]]


def _told(proto: Any) -> Answer:
    return {
        name: [(FieldStatus.Name(status), _number(value)) for status, value in zip(vector.statuses, vector.values, strict=True)]
        for name, vector in zip(proto.metadata.feature_names.val, proto.results, strict=True)
    }


def _number(value: Value) -> float | None:
    kind = value.WhichOneof("val")
    return None if kind is None else getattr(value, kind)


HERE, MISSING, OLD = ("PRESENT", 1.0), ("NOT_FOUND", None), ("OUTSIDE_MAX_AGE", None)


def test_an_entity_without_a_row_is_not_found(drivers: Callable[..., Drivers]) -> None:
    found = [HERE, MISSING, HERE]
    assert drivers().statuses() == {"f": found, "p": found, "g": found}


def test_a_row_older_than_its_views_ttl_is_hidden_if_that_is_switched_on(drivers: Callable[..., Drivers], here: Place) -> None:
    """Promise: each view by its own TTL, null values of status OUTSIDE_MAX_AGE; what is stored stays stored."""
    project = drivers(enforce_ttl=True)
    kept, old = [HERE, MISSING, HERE], [OLD, MISSING, OLD]
    for refs in (REFS, ("passing:p", "lasting:f", "lasting:g")):
        assert project.statuses(refs) == {"f": kept, "g": kept, "p": old}
    full = {"lasting__f": kept, "lasting__g": kept, "passing__p": old}
    assert project.statuses(full_feature_names=True) == full
    place, asked = project.place, [driver(1), driver(2)]
    answers = [
        place.read(project.passing, *asked),
        run(place, place.store.online_read_async(place.config, project.passing, asked)),
    ]
    assert answers == [[(NOON, None), (None, None)]] * 2
    place.store.clock = FixedClock(NOON + HOUR)
    assert project.statuses()["p"] == kept
    assert doubles(here.read(project.passing, driver(1))) == [{"p": 1}]


def test_a_pushed_correction_with_the_same_event_time_replaces(drivers: Callable[..., Drivers]) -> None:
    """Promise: unlike Feast's store, which drops it and says nothing; an older row changes nothing."""
    project = drivers()
    frames = {at: pd.DataFrame({"driver_id": [1], "p": [8.0], "event_timestamp": [at]}) for at in (NOON, NOON - HOUR)}
    project.feast.push("passing_push", frames[NOON], to=PushMode.ONLINE)
    assert project.statuses()["p"][0] == ("PRESENT", 8.0)
    project.feast.write_to_online_store("passing", frames[NOON - HOUR].assign(p=6.0))
    assert project.statuses()["p"][0] == ("PRESENT", 8.0)
