"""A LightGBM booster's text, read: the header and the trees as arrays.

Place in the flow: `flatten` makes the compiled form of it. The text holds every threshold and leaf with all its digits; the
format is that of LightGBM's `Tree::ToString` and `GBDT::SaveModelToString` (version v4).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

CATEGORICAL, DEFAULT_LEFT = 1, 2  # bits of a decision type; the two above them hold the kind of missing value
MISSING_SHIFT, MISSING_BITS = 2, 3
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2


class UnsupportedBooster(ValueError):
    """The booster has what the compiled form cannot express; it must be asked itself."""


@dataclass(frozen=True)
class Tree:
    """One tree of n leaves and n - 1 splits. A child is a split's index, or a leaf's as -1 - index.

    The categories that go left at a categorical split are the bits of `words[boundaries[c]:boundaries[c + 1]]`, c = `threshold`.
    """

    feature: Ints
    threshold: Floats
    decision: Ints
    left: Ints
    right: Ints
    leaf: Floats
    boundaries: Ints
    words: Ints

    def missing(self, split: int) -> int:
        """Which values count as missing at `split`."""
        return int(self.decision[split]) >> MISSING_SHIFT & MISSING_BITS


@dataclass(frozen=True)
class BoosterText:
    """`trees` are ordered by iteration, in each by class; `objective` is LightGBM's own word and its options."""

    features: int
    classes: int
    objective: tuple[str, ...]
    averages: bool
    trees: tuple[Tree, ...]


def read_booster(text: str) -> BoosterText:
    """The booster whose `model_to_string()` is `text`. Raises `UnsupportedBooster` for linear trees or another format."""
    header, *trees = _blocks(text)
    if header.get("version") != "v4":
        raise UnsupportedBooster(f"the model text is of version {header.get('version')}, v4 is known")
    return BoosterText(
        features=int(header["max_feature_idx"]) + 1,
        classes=int(header["num_tree_per_iteration"]),
        objective=tuple(header.get("objective", "").split()),
        averages="average_output" in header,
        trees=tuple(map(_tree, trees)),
    )


def _blocks(text: str) -> Iterator[Mapping[str, str]]:
    """The header and the trees, each by its keys; what follows the trees is for people and for training."""
    for block in text.partition("end of trees")[0].split("\n\n"):
        lines = (line.partition("=") for line in block.splitlines() if line)
        if found := {key: value for key, _, value in lines}:
            yield found


def _tree(told: Mapping[str, str]) -> Tree:
    if told.get("is_linear", "0") != "0":
        raise UnsupportedBooster("it has linear trees")

    def ints(key: str) -> Ints:
        return np.array(told.get(key, "").split(), dtype=np.int64)

    def floats(key: str) -> Floats:
        return np.array(told.get(key, "").split(), dtype=np.float64)

    return Tree(
        feature=ints("split_feature"),
        threshold=floats("threshold"),
        decision=ints("decision_type"),
        left=ints("left_child"),
        right=ints("right_child"),
        leaf=floats("leaf_value"),
        boundaries=ints("cat_boundaries"),
        words=ints("cat_threshold"),
    )
