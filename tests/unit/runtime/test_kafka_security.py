"""Settings of Kafka's security fit together, or are refused by their names and never shown."""

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.kafka import client_options
from runtime.settings import Settings
from tests.secure import KEY_PASSWORD, Certificates, make_certificates

ACCOUNT = {"kafka_sasl_username": "me", "kafka_sasl_password": "opensesame"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def refusal(**values: Any) -> tuple[str, str]:
    """The setting that is refused, and all that is said about it."""
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    (problem,) = caught.value.errors()
    told = "".join(traceback.format_exception(caught.value)).split("ValidationError", 1)[1]
    assert "sesame" not in told
    return str(problem["loc"][0]), problem["msg"]


@pytest.mark.parametrize(
    "account",
    [{}, {"kafka_sasl_username": "me"}, {"kafka_sasl_password": "opensesame"}, ACCOUNT | {"kafka_sasl_password": ""}],
)
@pytest.mark.parametrize("protocol", ["SASL_SSL", "SASL_PLAINTEXT"])
def test_sasl_needs_a_user_and_a_password(protocol: str, account: dict[str, str]) -> None:
    field, told = refusal(kafka_security_protocol=protocol, **account)
    assert field == "kafka_sasl_password"
    assert "HABITUS_KAFKA_SASL_USERNAME and HABITUS_KAFKA_SASL_PASSWORD" in told


def test_a_secret_or_a_certificate_that_would_go_unused_is_no_false_comfort(files: Certificates) -> None:
    for protocol in ("PLAINTEXT", "SSL"):
        field, told = refusal(kafka_security_protocol=protocol, **ACCOUNT)
        assert (field, "SASL_SSL" in told) == ("kafka_sasl_password", True)
    for protocol, account in (("PLAINTEXT", {}), ("SASL_PLAINTEXT", ACCOUNT)):
        field, told = refusal(kafka_security_protocol=protocol, kafka_ssl_cafile=files.ca, **account)
        assert (field, "HABITUS_KAFKA_SECURITY_PROTOCOL" in told) == ("kafka_ssl_cafile", True)


def test_a_file_that_is_not_there_or_is_no_certificate_is_told_before_anything_starts(
    files: Certificates, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").touch()
    for wrong in (tmp_path / "absent.pem", tmp_path / "empty.pem", tmp_path):
        field, told = refusal(kafka_security_protocol="SSL", kafka_ssl_cafile=wrong)
        assert (field, str(wrong) in told) == ("kafka_ssl_cafile", True)


def test_a_client_certificate_comes_with_its_key_and_the_keys_password(files: Certificates) -> None:
    tls = {"kafka_security_protocol": "SSL", "kafka_ssl_cafile": files.ca, "kafka_ssl_certfile": files.client_cert}
    assert "both" in refusal(**tls)[1]
    for key, password in ((files.client_key, "opensesame"), (files.client_key, None), (files.server_key, None)):
        field, told = refusal(**tls, kafka_ssl_keyfile=key, kafka_ssl_key_password=password)
        assert (field, "HABITUS_KAFKA_SSL_KEY_PASSWORD" in told) == ("kafka_ssl_keyfile", True)
    good = Settings(**tls, kafka_ssl_keyfile=files.client_key, kafka_ssl_key_password=KEY_PASSWORD)
    assert "ssl_context" in client_options(good)


def test_names_and_certificates_of_servers_are_always_verified(files: Certificates) -> None:
    context = client_options(Settings(kafka_security_protocol="SSL", kafka_ssl_cafile=files.ca))["ssl_context"]
    assert (context.verify_mode.name, context.check_hostname) == ("CERT_REQUIRED", True)
    assert len(context.get_ca_certs()) == 1  # of those named, none of the system's


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://me:opensesame@host/0?ssl_ca_certs=/ca.pem", "rediss://"),
        ("rediss://me:opensesame@host/0?ssl_ca_cert=/ca.pem", "ssl_ca_cert "),
        ("rediss://me:opensesame@host/0?ssl_ca_certs=/not/there.pem", "absolute path of a file"),
        ("rediss://me:opensesame@host/0?ssl_ca_certs=ca.pem", "absolute path of a file"),
    ],
)
def test_a_tls_option_of_redis_that_would_not_work_is_refused(url: str, told: str) -> None:
    field, said = refusal(redis_url=url)
    assert field == "redis_url"
    assert told in said
