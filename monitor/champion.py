"""The model that serves, as far as the monitor needs it: its version and the population that it was trained on."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from feature_repo.reference import OUT_OF_FOLD, Reference


@dataclass(frozen=True)
class Champion:
    """A model version with its `reference`; `folder` holds the reference's files."""

    version: str
    reference: Reference
    folder: Path

    @property
    def trained_until(self) -> datetime:
        """The latest event time of the training rows, aware; rows up to it are what the model was made from."""
        until = datetime.fromisoformat(self.reference.until)
        return until if until.tzinfo else until.replace(tzinfo=UTC)

    @property
    def trained_since(self) -> datetime:
        """The earliest event time of the training rows, aware."""
        since = datetime.fromisoformat(self.reference.since)
        return since if since.tzinfo else since.replace(tzinfo=UTC)

    @property
    def out_of_fold(self) -> Path:
        """The training rows' predictions by models that did not see them."""
        return self.folder / OUT_OF_FOLD
