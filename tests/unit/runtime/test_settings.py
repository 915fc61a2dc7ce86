"""What settings promise."""

import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.kafka import client_options, partition_for
from runtime.settings import STACK_ENV, Settings


def test_the_environment_wins_over_the_addresses_of_the_local_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Promise: a second shell finds a stack on unusual ports, and an explicit variable still wins."""
    (tmp_path / STACK_ENV).write_text("HABITUS_KAFKA_BOOTSTRAP=127.0.0.1:1111\nHABITUS_MLFLOW_URI=http://127.0.0.1:2222\n")
    monkeypatch.setenv("HABITUS_HOME", str(tmp_path))
    monkeypatch.setenv("HABITUS_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.delenv("HABITUS_MLFLOW_URI", raising=False)
    settings = Settings()
    assert settings.kafka_bootstrap == "broker:9092"
    assert settings.mlflow_uri == "http://127.0.0.1:2222"


def test_paths_below_home_are_absolute(tmp_path: Path):
    settings = Settings(home=tmp_path)
    assert settings.offline == str(tmp_path / "offline")
    assert settings.registry_url == f"sqlite:///{tmp_path}/feast/registry.db"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("/data/history", "/data/history"),
        ("file:///data/my%20history", "/data/my history"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
    ],
)
def test_the_history_lies_in_a_folder_or_in_a_bucket(tmp_path: Path, given: str, read: str):
    assert Settings(home=tmp_path, offline_uri=given).offline == read


@pytest.mark.parametrize(
    "uri", ["gs://bucket/x", "file://data", "s3://", "s3:///x", "s3://key:opensesame@bucket/x", "s3://b/x?y"]
)
def test_any_other_place_is_refused_by_its_variable_and_without_showing_it(tmp_path: Path, uri: str):
    with pytest.raises(ValidationError, match=r"(?s)offline_uri.*s3://bucket/prefix") as told:
        Settings(home=tmp_path, offline_uri=uri)
    assert "sesame" not in str(told.value)


def test_secrets_are_masked(tmp_path: Path):
    settings = Settings(
        home=tmp_path,
        redis_url="redis://:opensesame@host/0",
        mlflow_uri="https://me:openrye@host",
        registry_uri="postgresql://me:openoats@host/feast",
        kafka_security_protocol="SASL_SSL",
        kafka_sasl_username="me",
        kafka_sasl_password="openbarley",
        kafka_ssl_key_password="openwheat",
    )
    shown = repr(settings) + str(settings)
    assert not [secret for secret in ("opensesame", "openrye", "openoats", "openbarley", "openwheat") if secret in shown]
    assert "opensesame" not in settings.model_dump_json()
    assert "openbarley" not in settings.model_dump_json()


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "redis://",
        "redis://:6379/0",
        "http://:opensesame@host:6379",
        "redis://:opensesame@host:port/0",
        "redis://:opensesame@host:0",
        "redis://:opensesame@host:70000",
        "redis://:open#sesame@host:6379/0",
        "redis://user:12#sesame@host:6379/0",
        "redis://user:12/sesame@host:6379/0",
        "redis://user:12?sesame@host:6379/0",
        "redis://:open[sesame@host:6379/0",
        "unix://",
    ],
)
def test_what_is_no_redis_url_is_told_by_its_variable_and_never_shown(url: str, tmp_path: Path):
    with pytest.raises(ValidationError) as caught:
        Settings(home=tmp_path, redis_url=url)
    assert [problem["loc"] for problem in caught.value.errors()] == [("redis_url",)]
    told = "".join(traceback.format_exception(caught.value)).split("ValidationError", 1)[1]
    assert "percent-encode" in told
    assert "sesame" not in told


@pytest.mark.parametrize(
    "url",
    [
        "redis://host",
        "redis://[::1]:6379/1",
        "redis://:open%23sesame@host:6379/0",
        f"rediss://user:sesame@host:6380/0?ssl_ca_certs={__file__}&ssl_check_hostname=true",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_every_form_of_a_redis_url_is_taken(url: str, tmp_path: Path):
    assert Settings(home=tmp_path, redis_url=url).redis_url.get_secret_value() == url


@pytest.mark.parametrize("uri", ["localhost:5000", "sqlite:///mlflow.db", "http://", "http://host:port", "https://me:a#b@host"])
def test_mlflow_is_a_web_address(uri: str, tmp_path: Path):
    with pytest.raises(ValidationError, match="mlflow_uri"):
        Settings(home=tmp_path, mlflow_uri=uri)
    assert Settings(home=tmp_path, mlflow_uri="https://me:secret@mlflow.example/base").mlflow_uri.endswith("/base")


def test_settings_are_frozen(tmp_path: Path):
    with pytest.raises(ValidationError):
        Settings(home=tmp_path).partitions = 8


def test_sasl_ssl_reaches_the_client(tmp_path: Path):
    options = client_options(
        Settings(home=tmp_path, kafka_security_protocol="SASL_SSL", kafka_sasl_username="habitus", kafka_sasl_password="made-up")
    )
    assert options["sasl_plain_password"] == "made-up"
    assert options["ssl_context"].verify_mode.name == "CERT_REQUIRED"


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_the_partitioner_is_kafkas_own(key: bytes, murmur2: int):
    """The hashes are those of Kafka's own test (org.apache.kafka.common.utils.UtilsTest.testMurmur2)."""
    assert partition_for(key, 12) == (murmur2 & 0x7FFFFFFF) % 12
