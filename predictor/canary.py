"""Which persons a canary answers: a share of them set by a tag of the challenger's version, the same ones in every process.

Place in the flow: `shelf` reads the share, a `Serving` asks `is_chosen` for the person of a request. Raising the share keeps
those who were in. The hash is independent of the gate's (`feature_repo/gate.py`), so gate persons are as often in as all others.
"""

import math
from collections.abc import Mapping
from hashlib import blake2b

from loguru import logger

TAG = "canary_percent"  # 0 to 100, fractions too, of the persons who ask for the champion

_ALL = 100.0
_DIGEST_BYTES = 8
_SPACE = 2.0 ** (8 * _DIGEST_BYTES)
_KEY = b"habitus canary"


def percent_of(tags: Mapping[str, str], version: str) -> float:
    """The share that the tags of `version` ask for; 0 without the tag, and for one that is no number from 0 to 100."""
    told = tags.get(TAG, "0")
    try:
        percent = float(told)
    except ValueError:
        percent = math.nan
    if 0 <= percent <= _ALL:
        return percent
    logger.bind(version=version).error("no canary: the tag {} is {!r}; set a number from 0 to 100", TAG, told)
    return 0.0


def is_chosen(person_id: str, percent: float) -> bool:
    """Whether the person is among the `percent` of all; never nobody ("")."""
    return percent > 0 and person_id != "" and _position(person_id) < percent


def _position(person_id: str) -> float:
    """Where the person stands from 0 to 100, evenly spread over persons."""
    digest = blake2b(person_id.encode(), digest_size=_DIGEST_BYTES, key=_KEY).digest()
    return int.from_bytes(digest, "big") / _SPACE * _ALL
