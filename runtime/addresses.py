"""Whether a URL in a setting can be one, told without showing it: it may hold a password.

Place in the flow: `Settings` checks its addresses here, so that a wrong one is told before any client
reads it another way.
"""

from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

_REMEDY = "percent-encode # / ? @ : % in a user name or password (# is %23)"


def redis_url(url: str) -> str:
    """`url` itself. Raises `PydanticCustomError` if it is no Redis URL."""
    scheme, _, rest = url.partition("://")
    if scheme == "unix" and rest and "#" not in rest:
        return url
    if scheme not in {"redis", "rediss"} or not _names_a_server(url):
        raise PydanticCustomError("redis_url", f"not redis://host:port/db, rediss://... or unix://...; {_REMEDY}")
    return url


def http_url(url: str) -> str:
    """`url` itself. Raises `PydanticCustomError` if it is no web address."""
    if not url.startswith(("http://", "https://")) or not _names_a_server(url):
        raise PydanticCustomError("http_url", f"not http://host:port or https://...; {_REMEDY}")
    return url


def _names_a_server(url: str) -> bool:
    """Whether `url` has a host and a possible port; an @ or # further on means that a password was cut short there."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and "#" not in url and "@" not in parts.path + parts.query
    except ValueError:
        return False
