"""What the predictor must answer: the probabilities of every registered version for every row that was ever stored."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from benchmarks.serving.asking import TOLERANCE, Floats
from benchmarks.serving.population import Population, features
from feature_repo.labels import LEVELS
from protos.habitus.v1 import predictor_pb2 as pb
from trainer.pipeline import probabilities


@dataclass
class Truth:
    """Versions and the rows that they may be asked about. A row is known by the offset of its record, in log order."""

    pipelines: dict[str, Pipeline]
    expected: dict[tuple[str, int], Floats] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)

    def learn(self, population: Population) -> None:
        """Rows that are about to be stored."""
        rows: pd.DataFrame = features(population)
        offsets = [int(each) for each in rows["source_offset"]]
        self.owners |= dict(zip(offsets, rows["person_id"], strict=True))
        for version, pipeline in self.pipelines.items():
            found = probabilities(pipeline, rows)
            self.expected |= {(version, offset): each for offset, each in zip(offsets, found, strict=True)}

    def fault(self, person_id: str, answer: pb.PredictResponse, since: int) -> str:
        """What is wrong with an answer about `person_id`, whose row was not older than offset `since` when it was asked for."""
        version, offset = answer.model.version, answer.features.source_offset
        expected = self.expected.get((version, offset))
        if expected is None or self.owners[offset] != person_id:
            return f"{person_id}: version {version} on offset {offset}, which is no row of this person"
        if offset < since:
            return f"{person_id}: the row of offset {offset}, though {since} was stored before it was asked for"
        found = np.array([answer.probabilities.get(level, np.nan) for level in LEVELS])
        if not np.abs(found - expected).max() <= TOLERANCE or answer.level != LEVELS[int(expected.argmax())]:
            return f"{person_id}: version {version} on offset {offset} says {expected}, the answer {found}"
        return ""


def offsets_of(population: Population) -> Sequence[int]:
    """The offset of each row."""
    found: list[int] = population.rows["source_offset"].to_pylist()
    return found
