"""Settings of the predictor's protection: `HABITUS_PREDICTOR_*`. What a client of it needs to prove itself is here too."""

import ssl
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from runtime.settings import Settings

_FILES = (
    "predictor_tls_certfile",
    "predictor_tls_keyfile",
    "predictor_tls_client_cafile",
    "predictor_tokens_file",
    "predictor_client_cafile",
    "predictor_client_certfile",
    "predictor_client_keyfile",
)


class ProtectionSettings(Settings):
    """Who may ask, and how much at once."""

    predictor_tls_certfile: Path | None = Field(None, description="PEM of the server's certificate and its chain: TLS is on")
    predictor_tls_keyfile: Path | None = Field(None, validate_default=True, description="PEM of its key, not encrypted")
    predictor_tls_client_cafile: Path | None = Field(
        None, validate_default=True, description="PEM of the authorities whose clients may connect: mutual TLS is on"
    )
    predictor_tokens_file: Path | None = Field(
        None, description="lines name:sha256:hash of bearer tokens; unset: none is asked for"
    )

    predictor_rate_per_s: float = Field(0.0, ge=0, description="requests a second of one client, lasting; 0: unlimited")
    predictor_rate_burst: float = Field(1_000.0, ge=1, description="requests that a client may send at once above that rate")
    predictor_concurrency: int = Field(256, ge=1, description="calls worked on at once; more are refused")
    predictor_streams: int = Field(32, ge=1, description="PredictStream calls open at once; more are refused")
    predictor_backlog: int = Field(
        256, ge=1, description="calls that arrived and were not taken up yet; more are cancelled before any work is done for them"
    )
    predictor_connection_streams: int = Field(256, ge=1, description="calls of one connection at once; clients hold back more")

    predictor_read_timeout_s: float = Field(1.0, gt=0, description="seconds that Redis gets to answer a request")
    predictor_circuit_failures: int = Field(5, ge=1, description="failures in a row after which Redis is not asked for a while")
    predictor_circuit_within_s: float = Field(10.0, gt=0, description="seconds within which these failures count")
    predictor_circuit_pause_s: float = Field(1.0, gt=0, description="seconds until the next request tries Redis again")

    predictor_client_token: SecretStr | None = Field(None, description="bearer token that `habitus predict` sends")
    predictor_client_cafile: Path | None = Field(None, description="PEM of whom `habitus predict` trusts: it asks by TLS")
    predictor_client_certfile: Path | None = Field(None, description="PEM of its own certificate, for mutual TLS")
    predictor_client_keyfile: Path | None = Field(None, validate_default=True, description="PEM of that certificate's key")

    @field_validator(*_FILES)
    @classmethod
    def _a_file(cls, file: Path | None) -> Path | None:
        if file is None:
            return None
        path = file.expanduser().absolute()
        try:
            path.open("rb").close()
        except OSError as error:
            raise _wrong(f"{path} cannot be read ({error.strerror})") from None
        return path

    @field_validator("predictor_tls_keyfile", "predictor_client_keyfile")
    @classmethod
    def _a_pair(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        name = str(info.field_name).replace("keyfile", "certfile")
        if name in info.data:
            _check_pair(key, info.data[name], name)
        return key

    @field_validator("predictor_tls_client_cafile")
    @classmethod
    def _only_with_tls(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("predictor_tls_certfile", ...) is None:
            raise _wrong("it would go unused, as HABITUS_PREDICTOR_TLS_CERTFILE is not set")
        if file is not None:
            _try(file, "it must hold certificates in PEM", lambda: ssl.create_default_context(cafile=file))
        return file


def _check_pair(key: Path | None, certificate: Path | None, name: str) -> None:
    certfile, keyfile = (f"HABITUS_{each}".upper() for each in (name, name.replace("certfile", "keyfile")))
    if (key is None) is not (certificate is None):
        raise _wrong(f"a certificate needs both {certfile} and {keyfile}")
    if key is not None and certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # Always a password: without one OpenSSL would ask for it at the terminal, and wait.
        _try(key, f"it must be the key, not encrypted, of {certfile}", lambda: context.load_cert_chain(certificate, key, ""))


def _try(file: Path, told: str, use: Any) -> None:
    try:
        use()
    except ssl.SSLError as error:
        raise _wrong(f"{file} does not fit ({error.reason or 'no PEM'}): {told}") from None


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("predictor_protection", "{sentence}", {"sentence": sentence})
