"""Whether a URL in a setting can be one, told without showing it: it may hold a password.

Place in the flow: `Settings` checks its addresses here, so that a wrong one is told before any client
reads it another way.
"""

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit
from urllib.request import url2pathname

from pydantic_core import PydanticCustomError

_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
_TLS_OPTIONS = _FILES | {"ssl_ca_path", "ssl_password", "ssl_cert_reqs", "ssl_check_hostname"}
_REMEDY = "percent-encode # / ? @ : % in a user name or password (# is %23)"


def redis_url(url: str) -> str:
    """`url` itself. Raises `PydanticCustomError` if it is no Redis URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "unix" and rest and "#" not in rest:
        return url
    if scheme not in {"redis", "rediss"} or not _names_a_server(url):
        raise PydanticCustomError("redis_url", f"not redis://host:port/db, rediss://... or unix://...; {_REMEDY}")
    _check_tls_options(url, encrypted=scheme == "rediss")
    return url


def http_url(url: str) -> str:
    """`url` itself. Raises `PydanticCustomError` if it is no web address."""
    if not url.startswith(("http://", "https://")) or not _names_a_server(url):
        raise PydanticCustomError("http_url", f"not http://host:port or https://...; {_REMEDY}")
    return url


def storage_uri(uri: str) -> str:
    """`uri` itself, a folder's as its path. Raises `PydanticCustomError` if it is neither that nor S3's."""
    scheme, found, rest = uri.partition("://")
    if not found:
        return uri
    if scheme == "file" and rest.startswith("/"):
        return url2pathname(rest)
    # The bucket is shown in errors, so no credentials may stand before it.
    if scheme != "s3" or not rest.partition("/")[0] or any(sign in rest for sign in "@?#"):
        raise PydanticCustomError(
            "storage_uri",
            "neither a folder, file:///folder nor s3://bucket/prefix (credentials belong in AWS_ACCESS_KEY_ID, ...)",
        )
    return uri.rstrip("/")


def _names_a_server(url: str) -> bool:
    """Whether `url` has a host and a possible port; an @ or # further on means that a password was cut short there."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and "#" not in url and "@" not in parts.path + parts.query
    except ValueError:
        return False


def _check_tls_options(url: str, *, encrypted: bool) -> None:
    options = {name: value for name, value in parse_qsl(urlsplit(url).query) if name.startswith("ssl")}
    if options and not encrypted:
        raise _wrong_option(", ".join(sorted(options)), "is for rediss://, which is encrypted; redis:// is not")
    if unknown := options.keys() - _TLS_OPTIONS:
        raise _wrong_option(", ".join(sorted(unknown)), f"is none of {', '.join(sorted(_TLS_OPTIONS))}")
    for name in sorted(_FILES & options.keys()):
        # Each service runs in a folder of its own.
        if not (Path(options[name]).is_absolute() and Path(options[name]).is_file()):
            raise _wrong_option(name, "must be the absolute path of a file that is there")


def _wrong_option(name: str, problem: str) -> PydanticCustomError:
    return PydanticCustomError("redis_url", "{name} {problem}", {"name": name, "problem": problem})
