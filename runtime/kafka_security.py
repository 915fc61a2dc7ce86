"""How we prove to Kafka who we are, and Kafka to us: which settings belong together, and the TLS context made of them.

Place in the flow: `Settings` checks each of its values here when it is made, so that a missing password, a wrong file or a
secret that would go unused is told before any client starts; `runtime.kafka` connects with the context.
"""

import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

_PROTOCOL = "HABITUS_KAFKA_SECURITY_PROTOCOL"
_Earlier = Mapping[str, Any]  # the settings above the one that is checked; without those that are wrong themselves


class Masked(str):
    """A secret for libraries that want text, and print their options when they debug: it never shows as a value of theirs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


def client_context(
    cafile: Path | None, certfile: Path | None = None, keyfile: Path | None = None, key_password: SecretStr | None = None
) -> ssl.SSLContext:
    """A context that accepts a server only by a valid certificate for its name, of `cafile`'s authorities or the system's.

    Files are PEM. Raises `OSError` (`ssl.SSLError` is one) if a file cannot be read or is not what it should be.
    """
    context = ssl.create_default_context(cafile=cafile)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certfile is not None:
        # Always a password, needed or not: without one OpenSSL would ask for it at the terminal, and wait.
        password = "" if key_password is None else key_password.get_secret_value()
        context.load_cert_chain(certfile, keyfile, password)
    return context


def check(field: str, value: Any, earlier: _Earlier) -> Any:
    """The value of the setting `field`, paths made absolute. Raises `PydanticCustomError`, which never shows a value."""
    return _CHECKS[field](value, earlier)


def _password(password: SecretStr | None, earlier: _Earlier) -> SecretStr | None:
    protocol = earlier.get("kafka_security_protocol")
    if protocol is None:
        return password
    if protocol.startswith("SASL"):
        if not (earlier.get("kafka_sasl_username") and password and password.get_secret_value()):
            raise _wrong(f"{protocol} needs HABITUS_KAFKA_SASL_USERNAME and HABITUS_KAFKA_SASL_PASSWORD")
    elif password is not None:
        raise _wrong(f"it would go unused, as {_PROTOCOL} is {protocol}: set that to SASL_SSL")
    return password


def _certificates(file: Path | None, earlier: _Earlier) -> Path | None:
    found = _used(file, earlier)
    if found is not None:
        _try(found, "it must hold certificates in PEM", lambda: client_context(found))
    return found


def _key(file: Path | None, earlier: _Earlier) -> Path | None:
    found, certificate = _used(file, earlier), earlier.get("kafka_ssl_certfile")
    if (found is None) is not (certificate is None) and "kafka_ssl_certfile" in earlier:
        raise _wrong("a client certificate needs both HABITUS_KAFKA_SSL_CERTFILE and HABITUS_KAFKA_SSL_KEYFILE")
    if found is not None and certificate is not None:
        password = earlier.get("kafka_ssl_key_password")
        remedy = "it must be the certificate's key, and HABITUS_KAFKA_SSL_KEY_PASSWORD open it if it is encrypted"
        _try(found, remedy, lambda: client_context(None, certificate, found, password))
    return found


_CHECKS: Mapping[str, Callable[[Any, _Earlier], Any]] = {
    "kafka_sasl_password": _password,
    "kafka_ssl_cafile": _certificates,
    "kafka_ssl_certfile": _certificates,
    "kafka_ssl_keyfile": _key,
}
CHECKED = tuple(_CHECKS)


def _used(file: Path | None, earlier: _Earlier) -> Path | None:
    """`file`, absolute. A certificate that goes unused, as nothing is encrypted, is somebody's mistake."""
    protocol = earlier.get("kafka_security_protocol")
    if file is not None and protocol is not None and not protocol.endswith("SSL"):
        raise _wrong(f"it would go unused, as {_PROTOCOL} is {protocol}: set that to SASL_SSL or SSL")
    return None if file is None else file.expanduser().absolute()


def _try(file: Path, told: str, use: Callable[[], object]) -> None:
    try:
        use()
    except ssl.SSLError as error:
        raise _wrong(f"{file} does not fit ({error.reason or 'no PEM'}): {told}") from None
    except OSError as error:
        raise _wrong(f"{file} cannot be read ({error.strerror})") from None


def _wrong(sentence: str) -> PydanticCustomError:
    return PydanticCustomError("kafka_security", "{sentence}", {"sentence": sentence})
