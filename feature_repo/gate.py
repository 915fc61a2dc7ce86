"""Gate rows: one person in ten, never trained, tuned or selected on by any model, kept to judge champion against challenger.

A person belongs to the gate for ever: the choice is a hash of the person's id and of nothing else.
"""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

SHARE = 10  # one person in ten
_DIGEST_BYTES = 8


def person_hash(person_id: str) -> int:
    """A stable hash of a person's id, the same in every process and release."""
    return int.from_bytes(blake2b(person_id.encode(), digest_size=_DIGEST_BYTES).digest(), "big")


def is_gate(person_ids: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which of n persons belong to the gate: hash mod 10 = 0; n booleans."""
    return np.array([person_hash(person_id) % SHARE == 0 for person_id in person_ids], dtype=bool)
