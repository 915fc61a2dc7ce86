"""Promises about addresses: where they come from and how other processes learn them."""

from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.stack.endpoints import Endpoints, external_addresses, port_of
from habitus.stack.home import Home
from habitus.stack.services import inherited
from habitus.stack.status import without_credentials
from runtime.errors import InvalidSetting
from runtime.settings import Settings


@given(odd=st.text("abc#' \"$%;=@:/\\", min_size=1, max_size=8))
def test_every_process_reads_back_what_was_written(tmp_path_factory: pytest.TempPathFactory, odd: str) -> None:
    home = Home.at(tmp_path_factory.mktemp("home"))
    home.create()
    address, url = f"kafka{odd}:1234", f"redis://:{quote(odd, safe='$;=')}@localhost:1/0"
    Endpoints({"kafka": address, "redis": url}).write(home)
    settings = Settings(home=home.root)
    assert (settings.kafka_bootstrap, settings.redis_url.get_secret_value()) == (address, url)


def test_the_file_of_addresses_is_its_owner_s_alone(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    Endpoints({"kafka": "127.0.0.1:1234"}).write(home)
    assert home.stack_env.stat().st_mode & 0o077 == 0


def test_a_server_named_by_the_environment_is_the_user_s_own() -> None:
    environ = {"HABITUS_KAFKA_BOOTSTRAP": "kafka.example:9092", "HABITUS_REDIS_URL": ""}
    assert external_addresses({}, environ) == {"kafka": "kafka.example:9092"}


def test_an_environment_that_repeats_our_address_changes_nothing() -> None:
    """Promise: `source .habitus/stack.env; habitus up` starts the same local parts again."""
    assert external_addresses({"kafka": 9092}, {"HABITUS_KAFKA_BOOTSTRAP": "127.0.0.1:9092"}) == {}


def test_services_see_the_user_s_relative_paths_as_he_does() -> None:
    given_here = {"HABITUS_DATA": "rows", "HABITUS_OFFLINE_URI": "s3://bucket/x", "HABITUS_PARTITIONS": "2", "PATH": "/bin"}
    assert inherited(given_here) == {
        "HABITUS_DATA": str(Path.cwd() / "rows"),
        "HABITUS_OFFLINE_URI": "s3://bucket/x",
        "HABITUS_PARTITIONS": "2",
    }


def test_an_address_without_a_port_is_refused() -> None:
    assert port_of("127.0.0.1:50051") == 50051
    for wrong in ("localhost", ":1", "localhost:", "localhost:http"):
        with pytest.raises(InvalidSetting):
            port_of(wrong)


def test_a_shown_address_hides_name_and_password() -> None:
    assert without_credentials("redis://user:secret@host:6379/0") == "redis://host:6379/0"
    assert without_credentials("127.0.0.1:9092") == "127.0.0.1:9092"
