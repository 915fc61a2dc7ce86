"""Who is replayed when: three disjoint groups of persons, drawn from one population.

Place in the flow: the first step's result; the groups share no person, so what the models never saw stays unseen.
"""

from dataclasses import dataclass

import pandas as pd

from feature_repo.gate import person_hash
from habitus.data.columns import PERSON, TIME
from habitus.data.shift import Shift
from habitus.data.sources import Population

SOURCE = "demo"
DRIFT = Shift(weight_scale=1.04)
# Of a hundred persons: history, then those who come later on the faulty scale, then those kept for the last comparison.
_HISTORY_SHARE, _DRIFTED_SHARE = 60, 33
_HUNDRED = 100


@dataclass(frozen=True)
class Groups:
    """Rows of three disjoint groups of persons; the later two are not yet shifted.

    `history` is what the first model learns from; `drifted` come later and stand on a scale that reads 4 % high;
    `unseen` stand on the same scale and are never published.
    """

    history: pd.DataFrame
    drifted: pd.DataFrame
    unseen: pd.DataFrame


def split(population: Population) -> Groups:
    """Cut the population's history by a hash of each person (of each row where rows name none), the same every time."""
    rows = population.history
    if PERSON in rows:
        persons = rows[PERSON].astype(str)
    else:
        persons = pd.Series([f"{SOURCE}-{number:06d}" for number in range(len(rows))], index=rows.index)
    # Not `hash mod 10`: that is the gate's, and each group needs its share of gate persons.
    place = persons.map(lambda person: person_hash(person) // 10 % _HUNDRED)
    drifted_until = _HISTORY_SHARE + _DRIFTED_SHARE
    later = (place >= _HISTORY_SHARE) & (place < drifted_until)
    named = rows.assign(**{PERSON: persons})
    # Those who come later come at times of their own; a time that the rows bring lies in the history.
    timeless = named.drop(columns=TIME, errors="ignore")
    return Groups(named[place < _HISTORY_SHARE], timeless[later], timeless[place >= drifted_until])
