"""Settings of the protection fit together, or are refused by their names."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from predictor.settings import PredictorSettings
from tests.secure import Certificates, make_certificates


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def refusal(**values: Any) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        PredictorSettings(**values)
    (problem,) = caught.value.errors()
    return str(problem["loc"][0]), problem["msg"]


def test_a_certificate_needs_its_key(files: Certificates):
    field, told = refusal(predictor_tls_certfile=files.server_cert)
    assert field == "predictor_tls_keyfile"
    assert "HABITUS_PREDICTOR_TLS_CERTFILE and HABITUS_PREDICTOR_TLS_KEYFILE" in told
    assert refusal(predictor_tls_keyfile=files.server_key)[0] == "predictor_tls_keyfile"


def test_the_key_must_be_the_certificates_and_open(files: Certificates):
    for key in (files.client_key, files.ca):
        field, told = refusal(predictor_tls_certfile=files.server_cert, predictor_tls_keyfile=key)
        assert field == "predictor_tls_keyfile"
        assert "not encrypted" in told


def test_clients_are_asked_for_certificates_only_by_tls(files: Certificates):
    field, told = refusal(predictor_tls_client_cafile=files.ca)
    assert field == "predictor_tls_client_cafile"
    assert "HABITUS_PREDICTOR_TLS_CERTFILE" in told


def test_the_authorities_of_clients_must_be_certificates(files: Certificates):
    pair = {"predictor_tls_certfile": files.server_cert, "predictor_tls_keyfile": files.server_key}
    assert refusal(**pair, predictor_tls_client_cafile=files.server_key)[0] == "predictor_tls_client_cafile"
    assert PredictorSettings(**pair, predictor_tls_client_cafile=files.ca).predictor_tls_client_cafile == files.ca


def test_a_file_that_is_not_there_is_told_with_its_path(tmp_path: Path):
    field, told = refusal(predictor_tokens_file=tmp_path / "absent")
    assert field == "predictor_tokens_file"
    assert str(tmp_path / "absent") in told
