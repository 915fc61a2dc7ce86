"""A local stack for the time of a measurement: Kafka, Redis and MLflow of its own, on free ports, in a temporary folder."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from feature_repo.store import apply_definitions
from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from habitus.stack.ports import USUAL
from runtime.kafka import ensure_topics
from runtime.topics import Topics
from trainer.settings import TrainerSettings

PARTS = ("kafka", "redis", "mlflow")
_LOCALS = ("HABITUS_KAFKA_BOOTSTRAP", "HABITUS_REDIS_URL", "HABITUS_MLFLOW_URI")


@dataclass(frozen=True)
class Stage:
    """A running stack, and settings that lead to it; `folder` is for whatever files a measurement needs."""

    stack: Stack
    settings: TrainerSettings
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to this stage."""
        addresses = (self.settings.kafka_bootstrap, self.settings.redis_url.get_secret_value(), self.settings.mlflow_uri)
        own = {"HABITUS_HOME": str(self.settings.home), "HABITUS_PROJECT": self.settings.project}
        return dict(zip(_LOCALS, addresses, strict=True)) | own

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.folder / f"{name}.log"


@contextmanager
def staged(project: str, parts: Sequence[str] = PARTS) -> Iterator[Stage]:
    """A stack with its topics and Feast's definitions; it and the folder are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=f"habitus-{project}-") as folder:
        home = Path(folder) / "home"
        stack = Stack(Home.at(home), usual=dict.fromkeys(USUAL, 0), tied=True)
        try:
            reached = stack.up(parts).addresses
            settings = TrainerSettings(
                home=home,
                project=project,
                kafka_bootstrap=reached["kafka"],
                redis_url=reached["redis"],
                mlflow_uri=reached["mlflow"],
                trainer_workers=1,
            )
            ensure_topics(settings, Topics(settings).all())
            apply_definitions(settings)
            yield Stage(stack, settings, Path(folder))
        finally:
            stack.down()
