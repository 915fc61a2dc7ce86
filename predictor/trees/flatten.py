"""Trees flattened: every split of every kind becomes "is the rank greater than this one?", four bytes a node.

A *column* is a feature seen in one of the ways in which splits look at it. For a numerical split the way is what it does with
missing values, and the column's rank of x is how many of its thresholds lie below x; for a categorical split it is a set of
categories, and the rank is 0 inside the set, 1 outside. So a row is ranked once, a column at a time, and then each node is one
load, one comparison and one addition, whatever it was in LightGBM.

Place in the flow: `model_text` reads trees, `kernel` ranks rows and walks these nodes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.trees.model_text import (
    CATEGORICAL,
    DEFAULT_LEFT,
    MISSING_NAN,
    MISSING_ZERO,
    BoosterText,
    Tree,
    UnsupportedBooster,
)

# A node: its column in the upper 8 bits, its rank in the next 12, its left child in the lowest 12; the right one is next to it.
COLUMN_SHIFT, RANK_SHIFT, PLACE_MASK = 24, 12, 0xFFF
_COLUMNS_AT_MOST, _NODES_AT_MOST = 256, 0x1000
_NEVER = 0xFFF  # a rank that none exceeds: a leaf's walk stays where it is
_THRESHOLDS_AT_MOST = _NEVER
TREES_AT_ONCE = 8  # walked side by side, so that the processor waits for none of them
_WORD_BITS = 32

# How a column ranks what is not simply compared.
NUMBERS, ZERO_IS_MISSING, NAN_IS_MISSING, CATEGORIES = 0, 1, 2, 3


@dataclass(frozen=True)
class FlatTrees:
    """Arrays for `kernel`.

    Columns: `feature`, `kind` (see above) and `missing_rank` of each; its thresholds are `thresholds[start[c]:start[c + 1]]`,
    its category bits `words[start[c]:start[c + 1]]`. Trees: `nodes` and `leaf` (a node's value if it is one) of all of them,
    each tree's from `root` on. `order` lists the trees by depth, in groups of TREES_AT_ONCE that are walked `depth` steps;
    it is filled up with the last tree.
    """

    feature: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    missing_rank: npt.NDArray[np.int64]
    start: npt.NDArray[np.int64]
    thresholds: npt.NDArray[np.float64]
    words: npt.NDArray[np.int64]
    nodes: npt.NDArray[np.uint32]
    leaf: npt.NDArray[np.float64]
    root: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    depth: npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Way:
    """A way to look at a feature; of numbers, which rank the missing ones get, None for that of zero."""

    feature: int
    kind: int
    missing_goes_left: bool = False
    categories: tuple[int, ...] = ()  # bits, 32 a word


def flatten(booster: BoosterText) -> FlatTrees:
    """The trees of `booster`. Raises `UnsupportedBooster` if they do not fit into the nodes' bits."""
    ways = _ways(booster.trees)
    columns = {way: number for number, way in enumerate(ways)}
    _require(len(columns) <= _COLUMNS_AT_MOST, f"{len(columns)} ways to look at features", _COLUMNS_AT_MOST)
    laid = [_lay(tree, columns, ways) for tree in booster.trees]
    roots = np.cumsum([0, *(len(each.nodes) for each in laid)])[:-1]
    order, depth = _groups([each.depth for each in laid])
    lengths = [len(way.categories) if way.kind == CATEGORIES else len(thresholds) for way, thresholds in ways.items()]
    start = np.cumsum([0, *lengths])
    words, thresholds = np.zeros(start[-1], np.int64), np.zeros(start[-1], np.float64)
    for (way, values), first, last in zip(ways.items(), start[:-1], start[1:], strict=True):
        if way.kind == CATEGORIES:
            words[first:last] = way.categories
        else:
            thresholds[first:last] = values
    return FlatTrees(
        feature=np.array([way.feature for way in ways], np.int64),
        kind=np.array([way.kind for way in ways], np.int64),
        missing_rank=np.array([0 if way.missing_goes_left else len(values) for way, values in ways.items()], np.int64),
        start=start.astype(np.int64),
        thresholds=thresholds,
        words=words,
        nodes=np.concatenate([each.nodes for each in laid]),
        leaf=np.concatenate([each.leaf for each in laid]),
        root=roots.astype(np.int64),
        order=order,
        depth=depth,
    )


def _ways(trees: Iterable[Tree]) -> dict[_Way, list[float]]:
    """All ways in which the splits look at features, each with its thresholds, in ascending order."""
    found: dict[_Way, set[float]] = {}
    for tree in trees:
        for split in range(len(tree.feature)):
            found.setdefault(_way(tree, split), set()).add(float(tree.threshold[split]))
    for values in found.values():
        _require(len(values) <= _THRESHOLDS_AT_MOST, f"{len(values)} thresholds of one feature", _THRESHOLDS_AT_MOST)
    return {way: sorted(values) for way, values in found.items()}


def _way(tree: Tree, split: int) -> _Way:
    feature, decision, missing = int(tree.feature[split]), int(tree.decision[split]), tree.missing(split)
    if decision & CATEGORICAL:
        first, last = tree.boundaries[int(tree.threshold[split]) :][:2]
        return _Way(feature, CATEGORIES, categories=tuple(map(int, tree.words[first:last])))
    kind = {MISSING_ZERO: ZERO_IS_MISSING, MISSING_NAN: NAN_IS_MISSING}.get(missing, NUMBERS)
    return _Way(feature, kind, kind != NUMBERS and bool(decision & DEFAULT_LEFT))


@dataclass(frozen=True)
class _Laid:
    nodes: npt.NDArray[np.uint32]
    leaf: npt.NDArray[np.float64]
    depth: int


def _lay(tree: Tree, columns: dict[_Way, int], ways: dict[_Way, list[float]]) -> _Laid:
    """The tree's nodes, breadth first, siblings side by side."""
    count = 2 * len(tree.leaf) - 1
    _require(count <= _NODES_AT_MOST, f"a tree of {len(tree.leaf)} leaves", (_NODES_AT_MOST + 1) // 2)
    nodes, leaf = np.zeros(count, np.uint32), np.zeros(count, np.float64)
    deepest = free = 0
    waiting = deque([(0 if len(tree.feature) else -1, 0, 0)])
    while waiting:
        child, place, depth = waiting.popleft()
        deepest = max(deepest, depth)
        if child < 0:
            nodes[place], leaf[place] = _NEVER << RANK_SHIFT | place, tree.leaf[-1 - child]
            continue
        way = _way(tree, child)
        rank = 0 if way.kind == CATEGORIES else int(np.searchsorted(ways[way], tree.threshold[child]))
        nodes[place] = columns[way] << COLUMN_SHIFT | rank << RANK_SHIFT | free + 1
        waiting.extend([(int(tree.left[child]), free + 1, depth + 1), (int(tree.right[child]), free + 2, depth + 1)])
        free += 2
    return _Laid(nodes, leaf, deepest)


def _groups(depths: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    order = sorted(range(len(depths)), key=depths.__getitem__)
    order += order[-1:] * (-len(order) % TREES_AT_ONCE)
    return np.array(order, np.int64), np.array(list(_deepest(order, depths)), np.int64)


def _deepest(order: list[int], depths: list[int]) -> Iterator[int]:
    for first in range(0, len(order), TREES_AT_ONCE):
        yield max(depths[tree] for tree in order[first : first + TREES_AT_ONCE])


def _require(fits: bool, what: str, limit: int) -> None:
    if not fits:
        raise UnsupportedBooster(f"{what}: the compiled form holds {limit}")
