"""Why Kafka or Redis did not let us in, as an error that names the setting and the remedy, and shows no secret.

Place in the flow: `runtime.kafka` makes its clients, and the online store its calls, under these. The libraries tell the reason
in their own words or, kafka-python, only to its log; what they say holds neither passwords nor keys.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from kafka.errors import KafkaError

from runtime.errors import AccessRefused, Unavailable
from runtime.settings import Settings

_KAFKA_LOG = "kafka.net.manager"


class _Sign(NamedTuple):
    """Words by which a library tells a failure, what they mean, what to do, and whether only that can help."""

    words: str
    meaning: str
    remedy: str
    waiting_is_vain: bool = True


_CREDENTIALS = "HABITUS_KAFKA_SASL_USERNAME, HABITUS_KAFKA_SASL_PASSWORD and HABITUS_KAFKA_SASL_MECHANISM"
_CLIENT_CERTIFICATE = "set HABITUS_KAFKA_SSL_CERTFILE and HABITUS_KAFKA_SSL_KEYFILE to a client certificate that it trusts"
_NAME_BROKER = "name it as its certificate does, in HABITUS_KAFKA_BOOTSTRAP and in its own advertised.listeners"
_ALL_OF_KAFKA = (
    f"see that its port speaks what HABITUS_KAFKA_SECURITY_PROTOCOL says, and that {_CREDENTIALS}"
    " or HABITUS_KAFKA_SSL_CERTFILE are right"
)
_TRY_TLS = "if it speaks TLS, use rediss:// in HABITUS_REDIS_URL"
_SPEAKS_TLS = "it speaks TLS and we do not"
_NO_TLS = "it seems to speak no TLS"
_OTHER_NAME = "its certificate is for another name"
_UNTRUSTED = "its certificate is not trusted"

# The first that fits is told.
_KAFKA = (
    _Sign("SaslAuthenticationFailed", "it refuses the user or the password", f"correct {_CREDENTIALS}"),
    _Sign("UnsupportedSaslMechanism", "it does not offer this SASL mechanism", "set HABITUS_KAFKA_SASL_MECHANISM to one it has"),
    _Sign(
        "not valid for",
        _OTHER_NAME,
        _NAME_BROKER,
    ),
    _Sign("CERTIFICATE_VERIFY_FAILED", _UNTRUSTED, "set HABITUS_KAFKA_SSL_CAFILE to its authority's certificate"),
    _Sign("ALERT_BAD_CERTIFICATE", "it wants another client certificate", _CLIENT_CERTIFICATE),
    _Sign("CERTIFICATE_REQUIRED", "it wants a client certificate", _CLIENT_CERTIFICATE),
    _Sign("ALERT_UNKNOWN_CA", "it does not trust our client certificate", _CLIENT_CERTIFICATE),
    _Sign("frame length: 352518912", _SPEAKS_TLS, "set HABITUS_KAFKA_SECURITY_PROTOCOL to SASL_SSL or SSL"),  # a TLS alert
    _Sign("WRONG_VERSION_NUMBER", _NO_TLS, "see that HABITUS_KAFKA_BOOTSTRAP names its TLS port"),
    # A broker that is just starting or stopping does the same.
    _Sign("UNEXPECTED_EOF", _NO_TLS, "see that HABITUS_KAFKA_BOOTSTRAP names its TLS port", waiting_is_vain=False),
    # It hangs up as it refuses, and the client may notice that first: the next try will tell.
    _Sign("socket disconnected", "it hung up", _ALL_OF_KAFKA, waiting_is_vain=False),
)
_REDIS = (
    _Sign("invalid username-password", "it refuses the user or the password", "correct both in HABITUS_REDIS_URL"),
    _Sign("Authentication required", "it wants a password", "put user and password into HABITUS_REDIS_URL"),
    _Sign(
        "has no permissions",
        "the user lacks a permission",
        "grant it to the user of HABITUS_REDIS_URL; docs/guarantees.md lists all",
    ),
    _Sign("not valid for", _OTHER_NAME, "name it in HABITUS_REDIS_URL as its certificate does"),
    _Sign("CERTIFICATE_VERIFY_FAILED", _UNTRUSTED, "append ?ssl_ca_certs=/path/ca.pem of its authority to HABITUS_REDIS_URL"),
    _Sign("WRONG_VERSION_NUMBER", _NO_TLS, "see that HABITUS_REDIS_URL names its TLS port, or use redis://"),
    _Sign("closed by server", "it hung up", _TRY_TLS, waiting_is_vain=False),
    _Sign("reset by peer", "it hung up", _TRY_TLS, waiting_is_vain=False),
)


@contextmanager
def kafka_access(settings: Settings) -> Iterator[None]:
    """While a Kafka client connects: its failure becomes `Unavailable`, or `AccessRefused` where waiting is in vain."""
    causes = _Causes(logging.WARNING)
    log = logging.getLogger(_KAFKA_LOG)
    log.addHandler(causes)
    try:
        yield
    except KafkaError as error:
        raise _told("kafka", f"{settings.kafka_bootstrap} does not answer", [error, *causes.found], _KAFKA) from error
    finally:
        log.removeHandler(causes)


def redis_failure(error: Exception) -> Unavailable:
    """What `error` of a Redis client means."""
    return _told("redis", "it does not answer", [error], _REDIS)


class _Causes(logging.Handler):
    """Keeps the errors that are mentioned in a log: a client that cannot connect raises only that it took too long."""

    found: tuple[Exception, ...] = ()

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.found += tuple(each for each in arguments if isinstance(each, Exception))


def _told(part: str, otherwise: str, causes: Iterable[Exception], signs: Iterable[_Sign]) -> Unavailable:
    reasons = list(dict.fromkeys(map(str, causes)))
    for sign, reason in ((sign, reason) for sign in signs for reason in reasons if sign.words in reason):
        told = f"{sign.meaning} ({reason})"
        if sign.waiting_is_vain:
            return AccessRefused(part, told, remedy=sign.remedy)
        return Unavailable(part, f"{told}; {sign.remedy}", remedy=sign.remedy)
    return Unavailable(part, f"{otherwise} ({'; '.join(reasons)})")
