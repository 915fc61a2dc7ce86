"""The model that serves, as far as the monitor needs it: its version and the population that it was trained on."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from feature_repo.reference import OUT_OF_FOLD, ROWS, Reference
from runtime.errors import ModelRefused


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

    def rows(self) -> pd.DataFrame:
        """The training rows that the reference counts: person, event time, level, attributes."""
        return self._read(ROWS)

    def out_of_fold(self) -> pd.DataFrame:
        """The same rows' levels, and their probabilities `p_<level>` by models that did not see them."""
        return self._read(OUT_OF_FOLD)

    def _read(self, name: str) -> pd.DataFrame:
        try:
            return pd.read_parquet(self.folder / name)
        except OSError as error:
            raise ModelRefused(f"version {self.version} carries no {name} ({error})", remedy="train the model anew") from error
