"""How the stream, the predictor and Feast find their Redis: TLS, users, passwords of any characters, sockets."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from feast import FeatureStore
from feast.repo_config import RepoConfig
from pydantic import ValidationError
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NoConnection

from feature_repo.materialise import materialise
from feature_repo.online.guarded_store import GuardedRedisOnlineStore, GuardedRedisOnlineStoreConfig
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.store import apply_definitions, open_store
from feature_repo.views import VIEW
from runtime.errors import AccessRefused
from runtime.settings import Settings
from tests.online import feast_config, located, read
from tests.redis_servers import port_of, redis_server
from tests.secure import SECRETS, SecureRedis, make_certificates, running_redis

DIGITS, TRICKY = "1e3", "7,e=1"  # Feast's form of an address makes a number of the one, and ends at the other's comma
ASKED = {"features": [f"{VIEW}:weight_kg"], "entity_rows": [{"person_id": "ann"}]}


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureRedis]:
    """A Redis that speaks TLS and asks for a user and his password."""
    folder = tmp_path_factory.mktemp("secure")
    with running_redis(folder, make_certificates(folder)) as made:
        yield made


def require_works(settings: Settings) -> None:
    """The stream writes, the predictor reads, Feast reads both ways and removes all."""
    rows, states = materialise([located(0)], {})
    with connect(settings) as client:
        OnlineWriter(client, settings.project).apply(rows, states)
    assert read(settings, "ann") != [None]
    apply_definitions(settings)
    feast = open_store(settings)
    assert feast.get_online_features(**ASKED).to_dict()["weight_kg"] == [81]
    assert asyncio.run(ask_async(feast)) == [81]
    feast.teardown()
    assert read(settings, "ann") == [None]
    asyncio.run(feast._get_provider().online_store.close())


async def ask_async(feast: FeatureStore) -> list[float]:
    answer = await feast.get_online_features_async(**ASKED)
    await feast._get_provider().online_store.close()
    weights: list[float] = answer.to_dict()["weight_kg"]
    return weights


def test_over_tls_as_a_user_with_any_password(secure: SecureRedis, settings_for: Callable[..., Settings]) -> None:
    require_works(settings_for(Settings, redis_url=secure.url()))


@pytest.mark.parametrize("wrong", ["password", "authority"])
def test_whoever_is_refused_is_told_without_a_secret(
    secure: SecureRedis, settings_for: Callable[..., Settings], tmp_path: Path, wrong: str
) -> None:
    url = secure.url(password=f"not {SECRETS[2]}") if wrong == "password" else secure.url(ca=make_certificates(tmp_path).other_ca)
    settings = settings_for(Settings, redis_url=url)
    feast = open_store(settings)
    with connect(settings) as client, pytest.raises(AccessRefused) as told:
        OnlineWriter(client, settings.project).states(["ann"])
    store, config = feast._get_provider().online_store, feast.config
    with pytest.raises((AuthenticationError, NoConnection)) as from_feast:
        store.delete_entity_values(config, ["person_id"])
    with store._get_client(config.online_store) as connected:
        shown = [told.value, from_feast.value, config, config.online_store, store, connected, connected.connection_pool]
    for each in shown:
        assert not any(secret in f"{each} {each!r}" for secret in SECRETS)


@pytest.mark.parametrize(
    ("password", "url"),
    [(DIGITS, "redis://:{password}@127.0.0.1:{port}/1"), (TRICKY, "unix://:{password}@{socket}?db=1")],
)
def test_a_password_is_text_whatever_it_looks_like(
    settings_for: Callable[..., Settings], tmp_path: Path, password: str, url: str
) -> None:
    """Promise: by TCP and by a socket of the file system."""
    with tempfile.TemporaryDirectory() as short:  # the path of a socket may have no more than about a hundred characters
        socket = f"{short}/redis"
        with redis_server(tmp_path / "redis", "--requirepass", password, "--unixsocket", socket, password=password) as client:
            address = url.format(password=password, port=port_of(client), socket=socket)
            require_works(settings_for(Settings, redis_url=address))


def test_in_feasts_form_too_a_password_of_digits_is_text(settings_for: Callable[..., Settings], tmp_path: Path) -> None:
    with redis_server(tmp_path / "redis", "--requirepass", DIGITS, password=DIGITS) as client:
        address = f"127.0.0.1:{port_of(client)},db=1,password={DIGITS}"
        config = of_feast(settings_for(Settings), tmp_path, address)
        store = GuardedRedisOnlineStore()
        with store._get_client(config.online_store) as found:
            assert found.ping()
            assert found.connection_pool.connection_kwargs["db"] == 1


def of_feast(settings: Settings, folder: Path, address: str) -> RepoConfig:
    described = {"type": "feature_repo.online.guarded_store.GuardedRedisOnlineStore", "connection_string": address}
    return feast_config(settings, folder, described)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"client": "glide"}, "leave `client` at `redis`"),
        ({"redis_type": "redis_sentinel"}, "a URL names no sentinels"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_without_showing_the_address(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said) as told:
        GuardedRedisOnlineStoreConfig(**options, connection_string="redis://:geheim@h")
    assert "geheim" not in str(told.value)
