"""The online store on a real Redis Cluster of three nodes: no script and no command asks for keys of two of them."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feast import FeatureStore
from redis import Redis, RedisCluster

from feature_repo.materialise import materialise
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.store import apply_definitions, open_store
from feature_repo.temporal import PersonState
from feature_repo.views import VIEW
from runtime.settings import Settings
from tests.online import TOPIC, feast_config, located, read
from tests.redis_servers import port_of, redis_cluster

PERSONS = [f"p{number}" for number in range(60)]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Redis]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
def settings(nodes: list[Redis], settings_for: Callable[..., Settings]) -> Settings:
    return settings_for(Settings, redis_url=f"redis://127.0.0.1:{port_of(nodes[0])}/0?cluster=true")


@pytest.fixture
def client(settings: Settings) -> Iterator[RedisCluster]:
    made = connect(settings)
    assert isinstance(made, RedisCluster)
    yield made
    made.close()


def keys_by_node(nodes: list[Redis], project: str) -> list[int]:
    return [len(node.keys(f"*{project}")) for node in nodes]  # type: ignore[arg-type]  # no asyncio here


def test_the_stream_and_the_predictor_work_on_a_cluster(client: RedisCluster, nodes: list[Redis], settings: Settings) -> None:
    """Promise: rows, states, watermarks, the removal of an old epoch, and scripts that one node lost."""
    writer = OnlineWriter(client, settings.project)
    rows, states = materialise([located(place, person) for place, person in enumerate(PERSONS)], {})
    writer.apply(rows, states)
    assert min(keys_by_node(nodes, settings.project)) > 0
    assert writer.states(PERSONS) == states
    assert [row.source_offset for row in read(settings, *PERSONS) if row] == list(range(len(PERSONS)))
    for partition in range(6):
        assert writer.advance_watermark(TOPIC, partition, None, 5, writer.server(TOPIC, partition))
        assert writer.watermark(TOPIC, partition) == 5
    writer.refuse_eviction()

    nodes[1].script_flush()
    newer = writer.at(1)
    some, made = materialise(
        [located(0, PERSONS[0]), located(1, PERSONS[1])], {each: PersonState(epoch=1) for each in PERSONS[:2]}
    )
    newer.apply(some, made)
    assert newer.remove_older(1) == len(PERSONS) - 2
    assert newer.states(PERSONS) == made


@pytest.fixture
def feast(settings: Settings) -> Iterator[FeatureStore]:
    apply_definitions(settings)
    made = open_store(settings)
    yield made
    asyncio.run(made._get_provider().online_store.close())


async def ask_async(store: FeatureStore, asked: dict[str, object]) -> dict[str, list[object]]:
    answer = await store.get_online_features_async(**asked)
    await store._get_provider().online_store.close()
    return answer.to_dict()  # type: ignore[no-any-return]


def test_feast_works_on_a_cluster(client: RedisCluster, feast: FeatureStore, nodes: list[Redis], settings: Settings) -> None:
    """Promise: by a URL or by Feast's own `redis_cluster`, in threads or asyncio; what it removes, it removes on every node."""
    rows, _ = materialise([located(place, person) for place, person in enumerate(PERSONS)], {})
    frame = rows.to_pandas().drop(columns=["source_topic", "source_partition", "source_offset", "late"])
    feast.write_to_online_store(VIEW, frame)
    assert min(keys_by_node(nodes, settings.project)) > 0
    asked = {"features": [f"{VIEW}:weight_kg"], "entity_rows": [{"person_id": each} for each in [*PERSONS, "nobody"]]}
    told = feast.get_online_features(**asked).to_dict()
    assert told["weight_kg"] == [81.0] * len(PERSONS) + [None]
    assert asyncio.run(ask_async(feast, asked)) == told
    OnlineWriter(client, settings.project).advance_watermark(
        TOPIC, 2, None, 5, OnlineWriter(client, settings.project).server(TOPIC, 2)
    )
    feast.teardown()
    assert keys_by_node(nodes, settings.project) == [0, 0, 0]
    assert OnlineWriter(client, settings.project).watermark(TOPIC, 2) is None


def test_feasts_own_way_to_name_a_cluster_works_too(nodes: list[Redis], settings: Settings, tmp_path: Path) -> None:
    addresses = ",".join(f"127.0.0.1:{port_of(node)}" for node in nodes)
    described = {
        "type": "feature_repo.online_store.PersonRedisOnlineStore",
        "redis_type": "redis_cluster",
        "connection_string": addresses,
    }
    feast = FeatureStore(config=feast_config(settings, tmp_path, described))
    store = feast._get_provider().online_store
    with store._get_client(feast.config.online_store) as client:
        assert len(client.get_primaries()) == len(nodes)
