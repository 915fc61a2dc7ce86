"""Passwords of the user's own Kafka and Redis on their way to our services: where they stand, and who may read it."""

import stat
from pathlib import Path
from urllib.parse import quote

import pytest

from habitus.stack import doctor, services
from habitus.stack.configuration import launcher, write_configuration, write_order
from habitus.stack.endpoints import Endpoints
from habitus.stack.home import Home
from habitus.stack.parts import SERVICES
from habitus.stack.status import without_credentials
from runtime.settings import Settings

SECRET = "open sesame/#1"
URL = f"rediss://me:{quote(SECRET, safe='')}@redis.example:6380/0?ssl_password=opensesame"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A home after `habitus up` has prepared all services, with secrets in the environment."""
    secured = {"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "me", "SASL_PASSWORD": SECRET}
    for name, value in secured.items():
        monkeypatch.setenv(f"HABITUS_KAFKA_{name}", value)
    made = Home.at(tmp_path / "home")
    made.create()
    addresses = {"kafka": "kafka.example:9093", "redis": URL, "predictor": "127.0.0.1:1"}
    endpoints = Endpoints(addresses, frozenset({"kafka", "redis"}))
    endpoints.write(made)
    for name in SERVICES:
        write_order(made, services.part(name, made, endpoints, Settings(home=made.root)))
    write_configuration(made, made.run / "socket")
    return made


def test_a_secret_reaches_every_service_in_files_that_only_their_owner_reads(home: Home) -> None:
    holders = {path for path in home.root.rglob("*") if path.is_file() and holds_secret(path.read_text())}
    assert holders == {home.stack_env, *(home.run / f"{name}.json" for name in SERVICES)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holders} == {0o600}


def test_no_secret_stands_in_an_argument_of_a_process(home: Home) -> None:
    """Promise: arguments can be read by every user of the machine."""
    commands = [services.part(name, home, Endpoints({}), Settings()).argv for name in SERVICES]
    commands += [launcher(str(path)) for path in home.run.glob("*.json")]
    assert not any(holds_secret(" ".join(command)) for command in commands)


def test_a_path_reaches_a_service_in_another_folder_as_an_absolute_one() -> None:
    names = [f"HABITUS_KAFKA_SSL_{what}" for what in ("CAFILE", "CERTFILE", "KEYFILE")]
    assert set(services.inherited(dict.fromkeys(names, "x.pem")).values()) == {str(Path("x.pem").absolute())}


def test_an_address_is_shown_without_what_stands_in_it_to_prove_who_we_are() -> None:
    assert without_credentials(URL) == "rediss://redis.example:6380/0"
    assert without_credentials("rediss://redis.example:6380/0?ssl_password=x") == "rediss://redis.example:6380/0"
    assert without_credentials("a:9092,b:9092") == "a:9092,b:9092"


@pytest.mark.parametrize(
    ("url", "ok", "told"),
    [
        ("rediss://me:opensesame@redis.example/0", True, "it must prove its name"),
        ("rediss://redis.example/0", False, "without a password"),
        ("rediss://me:opensesame@redis.example/0?ssl_cert_reqs=none", False, "NOT VERIFIED"),
        ("rediss://me:opensesame@redis.example/0?ssl_check_hostname=False", False, "NOT VERIFIED"),
        ("redis://me:opensesame@redis.example/0", False, "not encrypted"),
        ("redis://localhost/0", True, "on this machine alone"),
    ],
)
def test_the_doctor_tells_what_protects_redis(url: str, ok: bool, told: str) -> None:
    found = doctor.redis_protection(Settings(redis_url=url))
    assert (found.ok, found.required, told in found.detail) == (ok, False, True)
    assert not holds_secret(str(found))


@pytest.mark.parametrize(
    ("bootstrap", "protocol", "ok"),
    [
        ("kafka.example:9093", "SASL_SSL", True),
        ("kafka.example:9092", "SASL_PLAINTEXT", False),
        ("localhost:9092,127.0.0.1:9093", "SASL_PLAINTEXT", True),
        ("localhost:9092,kafka.example:9092", "SASL_PLAINTEXT", False),
    ],
)
def test_the_doctor_tells_what_protects_kafka(bootstrap: str, protocol: str, ok: bool) -> None:
    account = {"kafka_sasl_username": "me", "kafka_sasl_password": SECRET}
    found = doctor.kafka_protection(Settings(kafka_bootstrap=bootstrap, kafka_security_protocol=protocol, **account))
    assert (found.ok, found.required) == (ok, False)
    assert not holds_secret(str(found))


def holds_secret(text: str) -> bool:
    """Whether a password of this file stands in `text`, in any of its forms."""
    return any(secret in text for secret in (SECRET, quote(SECRET, safe=""), "opensesame"))
