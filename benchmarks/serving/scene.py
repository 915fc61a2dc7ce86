"""What contenders are started with: the stack, the cores, the persons, the model and the probabilities that it gives them."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

from benchmarks.serving.asking import Floats
from benchmarks.serving.champion import Champion, save_for_rivals
from benchmarks.serving.cores import Cores, on
from benchmarks.serving.population import Population, features
from benchmarks.serving.processes import running
from benchmarks.serving.stage import Stage
from trainer.pipeline import probabilities

COMPARED = 200  # persons whose answers are compared with the model's


@dataclass(frozen=True)
class Scene:
    """`expected` are the model's probabilities by person, of the first persons of `people`."""

    stage: Stage
    cores: Cores
    people: Population
    champion: Champion
    expected: Mapping[str, Floats]

    @classmethod
    def of(cls, stage: Stage, cores: Cores, people: Population, champion: Champion) -> Self:
        """With the files that rivals load, in the stage's folder."""
        save_for_rivals(champion, stage.folder)
        rows = features(people).head(COMPARED)
        found = probabilities(champion.pipeline, rows)
        return cls(stage, cores, people, champion, dict(zip(rows["person_id"], found, strict=True)))

    @contextmanager
    def server(self, name: str, *argv: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
        """The process of `python -m argv` on the server's core; yields its pid."""
        with self.process(name, sys.executable, "-m", *argv, environment=environment) as pid:
            yield pid

    @contextmanager
    def process(self, name: str, *argv: str, environment: Mapping[str, str] | None = None) -> Iterator[int]:
        """The process of `argv` on the server's core; yields its pid."""
        told = {**self.stage.environment, **(environment or {})}
        with ExitStack() as opened:
            with on(self.cores.server):
                pid = opened.enter_context(running(argv, self.stage.log(name), told))
            yield pid
