"""`habitus predict` proves who it is and whom it trusts, as its settings say."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from habitus.commands.predict import PredictionFailed, _ask
from predictor.protection.tokens import line_of, new_token
from protos.habitus.v1 import predictor_pb2 as pb
from tests.secure import KEY_PASSWORD, make_certificates
from tests.unit.predictor.edge import running


async def test_it_asks_a_protected_predictor_by_mutual_tls_and_token(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files, token = make_certificates(tmp_path), new_token()
    key = serialization.load_pem_private_key(files.client_key.read_bytes(), KEY_PASSWORD.encode())
    opened = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "open-key.pem").write_bytes(opened)
    (tmp_path / "tokens").write_text(line_of("cli", token))
    server = {
        "predictor_tls_certfile": files.server_cert,
        "predictor_tls_keyfile": files.server_key,
        "predictor_tls_client_cafile": files.ca,
        "predictor_tokens_file": tmp_path / "tokens",
    }
    client = {"CAFILE": files.ca, "CERTFILE": files.client_cert, "KEYFILE": tmp_path / "open-key.pem"}
    for name, value in client.items():
        monkeypatch.setenv(f"HABITUS_PREDICTOR_CLIENT_{name}", str(value))
    async with running(parts, **server) as at:
        with pytest.raises(PredictionFailed) as caught:
            await asyncio.to_thread(_ask, pb.PredictRequest(person_id="p1"), at)
        assert "HABITUS_PREDICTOR_CLIENT_TOKEN" in caught.value.remedy
        monkeypatch.setenv("HABITUS_PREDICTOR_CLIENT_TOKEN", token)
        assert (await asyncio.to_thread(_ask, pb.PredictRequest(person_id="p1"), at))["level"]
