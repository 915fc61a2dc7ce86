"""Who may ask: bearer tokens, of which only hashes are kept, a line `name:algorithm:hash` each.

Tokens are made of 32 random bytes, so that one round of SHA-256 suffices: there is nothing to guess that a slow hash would guard.

Place in the flow: the edge asks `name_of` for each call; `habitus token new` makes a token and the line to store. The file is
read again when it changes. A change that cannot be read is logged and the tokens from before stay, so that a slip locks
nobody out.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from loguru import logger

from runtime.errors import HabitusError, InvalidSetting, NotPermitted

LOOK_S = 1.0  # the file is looked at no oftener; so long may a token that was taken out still be good
TOKEN_BYTES = 32
TOKEN_LIMIT = 512  # characters; longer ones are not hashed at all
_ALGORITHM = "sha256"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SETTING = "HABITUS_PREDICTOR_TOKENS_FILE"
_Stamp = tuple[int, int, int]


class Tokens:
    """The tokens of one file. `monotonic` tells seconds that never go back."""

    def __init__(self, path: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Raises `InvalidSetting` if the file cannot be read, is malformed, or holds no token."""
        self._path = path
        self._monotonic = monotonic
        self._looked_at_s = monotonic()
        try:
            self._stamp = _stamp(path)
            self._names = parse(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise _unreadable(path, error) from error
        if not self._names:
            raise InvalidSetting(f"{path} holds no token", remedy="`habitus token new NAME` makes one and tells its line")

    def name_of(self, token: str) -> str:
        """Whose token it is. Raises `NotPermitted` if nobody's.

        The digest finds its candidate and is then compared in constant time. What the look-up may tell by its duration is about
        the digest of a guess, which says nothing about a token.
        """
        self._renew()
        if len(token) > TOKEN_LIMIT:
            raise NotPermitted
        digest = _digest(token)
        known, name = self._names.get(digest[:16], ("", ""))
        if not hmac.compare_digest(known, digest):
            raise NotPermitted
        return name

    def _renew(self) -> None:
        now_s = self._monotonic()
        if now_s - self._looked_at_s < LOOK_S:
            return
        self._looked_at_s = now_s
        try:
            stamp = _stamp(self._path)
            if stamp != self._stamp:
                self._stamp, self._names = stamp, parse(self._path.read_text("utf-8"))
                logger.bind(tokens=len(self._names)).info("the tokens were read again")
        except (OSError, UnicodeDecodeError, HabitusError) as error:
            logger.error("the tokens stay as they were: {}", error)


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def line_of(name: str, token: str) -> str:
    """The line that stands for `token`. Raises `InvalidSetting` for a name that is none."""
    if not _NAME.fullmatch(name):
        raise InvalidSetting(f"{name!r} is no name of a token", remedy="use 1 to 64 letters, digits or _.-")
    return f"{name}:{_ALGORITHM}:{_digest(token)}"


def parse(text: str) -> Mapping[str, tuple[str, str]]:
    """Digest and name by the digest's beginning; empty lines and those that start with # count for nothing.

    Raises `InvalidSetting` naming the line, and never showing it: somebody may have put the token itself there.
    """
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    entries = [_entry(number, line) for number, line in lines if line and not line.startswith("#")]
    return {digest[:16]: (digest, name) for digest, name in entries}


def _entry(number: int, line: str) -> tuple[str, str]:
    name, _, rest = line.partition(":")
    algorithm, _, digest = rest.partition(":")
    if not (_NAME.fullmatch(name) and algorithm == _ALGORITHM and _HASH.fullmatch(digest)):
        raise InvalidSetting(
            f"line {number} of the tokens' file is not name:{_ALGORITHM}:hash, the hash in 64 lower-case hex digits",
            remedy=f"`habitus token new NAME` tells the line; correct the file that {_SETTING} names",
        )
    return digest, name


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _stamp(path: Path) -> _Stamp:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> InvalidSetting:
    return InvalidSetting(f"the tokens' file {path} cannot be read: {error}", remedy=f"correct {_SETTING}, or unset it")
