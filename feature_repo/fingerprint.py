"""Which code made a row: the sources that decide what a record becomes, as one hash.

Place in the flow: a backfill that was cut off is finished only by the code that began it.
"""

import hashlib
from functools import cache
from pathlib import Path

_SOURCES = ("person.py", "wire.py", "features.py", "temporal.py", "materialise.py")
_LENGTH = 12


@cache
def code_fingerprint() -> str:
    """Hexadecimal digits that differ as soon as validation, a feature or the fold differ."""
    folder = Path(__file__).parent
    contents = b"".join((folder / name).read_bytes() for name in _SOURCES)
    return hashlib.sha256(contents).hexdigest()[:_LENGTH]
