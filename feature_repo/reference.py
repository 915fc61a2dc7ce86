"""The monitoring reference of a model version: how its population looked, as bins and counts.

Place in the flow: the trainer builds and writes it as `reference/` into the model version; the monitor only reads it.
Counts merge exactly: those of two windows add up to those of both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from feature_repo.features import BY_NAME
from feature_repo.labels import LEVELS
from feature_repo.model_input import as_model_input
from feature_repo.person import ATTRIBUTES, CATEGORIES
from runtime.errors import ModelRefused, NotEnoughData

BINS = 20
FORMAT = 1
FILE = "reference.json"
OUT_OF_FOLD = "out_of_fold.parquet"
ROWS = "rows.parquet"

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FeatureReference:
    """One attribute: inner bin edges (numbers; bins are [edge, next)) or categories, and the reference's counts.

    `counts` has one entry a bin or category, then one for unseen categories (always 0 for numbers), then one for missing values.
    """

    name: str
    edges: tuple[float, ...]
    categories: tuple[str, ...]
    counts: tuple[int, ...]

    @property
    def is_category(self) -> bool:
        """Whether the attribute is a category."""
        return bool(self.categories)

    @property
    def histogram(self) -> Counts:
        """The reference's counts as an array, as `count` gives them."""
        return np.array(self.counts, dtype=np.int64)

    def count(self, values: pd.Series) -> Counts:
        """How many of n model-input values fall into each bin; as long as `counts`."""
        missing = np.asarray(values.isna())
        present = values[~missing]
        size = len(self.categories) if self.is_category else len(self.edges) + 1
        if self.is_category:
            found = {category: position for position, category in enumerate(self.categories)}
            which = np.array([found.get(value, size) for value in present], dtype=np.int64)
        else:
            which = np.searchsorted(np.asarray(self.edges), present.to_numpy(dtype=np.float64), side="right")
        return np.append(np.bincount(which, minlength=size + 1), missing.sum()).astype(np.int64)


@dataclass(frozen=True)
class Reference:
    """The population that a model version was trained on.

    `level_counts` are the labels in the order of `LEVELS`; `since` and `until` bound the event times of its rows.
    """

    features: tuple[FeatureReference, ...]
    level_counts: tuple[int, ...]
    rows: int
    since: str
    until: str
    format: int = FORMAT

    def counts(self, frame: pd.DataFrame) -> dict[str, Counts]:
        """Counts of n rows of attributes in the reference's bins, by feature."""
        given = as_model_input(frame, [feature.name for feature in self.features])
        return {feature.name: feature.count(given[feature.name]) for feature in self.features}

    def save(self, folder: Path) -> None:
        """Write the reference into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FILE).write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, folder: Path) -> "Reference":
        """The reference in `folder`. Raises `ModelRefused` if there is none, or one of another format."""
        try:
            found = json.loads((folder / FILE).read_text())
        except (OSError, ValueError) as error:
            raise ModelRefused(f"no monitoring reference in {folder}: {error}", remedy="train the model anew") from error
        if found.get("format") != FORMAT:
            raise ModelRefused(f"the reference has format {found.get('format')}, this code reads {FORMAT}")
        features = tuple(_restored(each) for each in found["features"])
        return cls(features, tuple(found["level_counts"]), found["rows"], found["since"], found["until"])


def build_reference(frame: pd.DataFrame, levels: "pd.Series[str]", times: "pd.Series[Any]") -> Reference:
    """The reference of n training rows: their attributes, levels and event times. Raises `NotEnoughData` for none."""
    if frame.empty:
        raise NotEnoughData("a reference needs rows", remedy="publish records and labels first")
    given = as_model_input(frame, list(ATTRIBUTES))
    features = tuple(_feature_reference(name, given[name]) for name in ATTRIBUTES)
    counted: Mapping[Any, int] = levels.value_counts().to_dict()
    first, last = (datetime.isoformat(pd.Timestamp(edge).to_pydatetime()) for edge in (times.min(), times.max()))
    return Reference(features, tuple(int(counted.get(level, 0)) for level in LEVELS), len(frame), first, last)


def _restored(found: dict[str, Any]) -> FeatureReference:
    return FeatureReference(found["name"], tuple(found["edges"]), tuple(found["categories"]), tuple(found["counts"]))


def _feature_reference(name: str, values: pd.Series) -> FeatureReference:
    if BY_NAME[name].dtype == "category":
        blank = FeatureReference(name, (), CATEGORIES[name], ())
    else:
        blank = FeatureReference(name, _inner_edges(values), (), ())
    return FeatureReference(name, blank.edges, blank.categories, tuple(blank.count(values).tolist()))


def _inner_edges(values: pd.Series) -> tuple[float, ...]:
    """Quantile edges of the present values; a heavy value (a flag, a whole number) has a bin of its own, also at either end."""
    present = values.dropna().to_numpy(dtype=np.float64)
    if not present.size:
        return ()
    quantiles = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1], method="inverted_cdf"))
    distinct, counts = np.unique(present, return_counts=True)
    heavy = distinct[counts >= present.size / BINS]
    inner = quantiles[(quantiles > present.min()) & (quantiles <= present.max())]
    edges = np.unique(np.concatenate([inner, heavy, np.nextafter(heavy, np.inf)]))
    return tuple(float(edge) for edge in edges)
