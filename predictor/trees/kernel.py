"""The machine code: rows ranked, nodes walked, leaves added in LightGBM's own order, so that sums are the same bits.

Place in the flow: `booster` calls it with the arrays of `flatten`. Compiled by Numba when first called with these types (a second
or two), or taken from its cache; it holds no lock of Python's while it runs.

References: LightGBM's `Tree::NumericalDecision` and `Tree::CategoricalDecision` (include/LightGBM/tree.h) for what goes left,
`Predictor` (src/application/predictor.hpp) for tiny values being zero, `Common::Softmax` for probabilities.
"""

import math

import numba
import numpy as np
import numpy.typing as npt

from predictor.trees.flatten import (
    CATEGORIES,
    COLUMN_SHIFT,
    NAN_IS_MISSING,
    PLACE_MASK,
    RANK_SHIFT,
    TREES_AT_ONCE,
    ZERO_IS_MISSING,
)

_ZERO = float(np.float32(1e-35))  # LightGBM's kZeroThreshold, a float there
_INT_END = 2147483648.0  # what does not fit LightGBM's int is no category
_COLUMNS = 256
_BITS, _BIT_MASK = 5, 31

# What the machine code is called with; Numba itself goes by the arguments.
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Nodes = npt.NDArray[np.uint32]


@numba.njit(cache=True, nogil=True, inline="always")
def _category_rank(value: float, first: int, last: int, words: Ints) -> int:
    if not -1.0 < value < _INT_END:
        return 1
    category = int(value)
    word = first + (category >> _BITS)
    if word >= last:
        return 1
    return int(1 - ((words[word] >> (category & _BIT_MASK)) & 1))


@numba.njit(cache=True, nogil=True, inline="always")
def _below(value: float, first: int, last: int, thresholds: Floats) -> int:
    start = first
    while first < last:
        middle = (first + last) >> 1
        if thresholds[middle] < value:
            first = middle + 1
        else:
            last = middle
    return first - start


@numba.njit(cache=True, nogil=True)
def _rank(  # noqa: PLR0917  compiled code takes arrays, by place
    row: Floats, ranks: Ints, feature: Ints, kind: Ints, missing_rank: Ints, start: Ints, thresholds: Floats, words: Ints
) -> None:
    for column in range(feature.shape[0]):
        value = row[feature[column]]
        if -_ZERO <= value <= _ZERO:
            value = 0.0
        way, first, last = kind[column], start[column], start[column + 1]
        if way == CATEGORIES:
            ranks[column] = _category_rank(value, first, last, words)
            continue
        if math.isnan(value) and way != NAN_IS_MISSING:
            value = 0.0
        if (way == ZERO_IS_MISSING and value == 0.0) or math.isnan(value):
            ranks[column] = missing_rank[column]
        else:
            ranks[column] = _below(value, first, last, thresholds)


@numba.njit(cache=True, nogil=True, inline="always")
def _step(nodes: Nodes, root: int, place: int, ranks: Ints) -> int:
    node = np.int64(nodes[root + place])
    return int((node & PLACE_MASK) + (ranks[node >> COLUMN_SHIFT] > ((node >> RANK_SHIFT) & PLACE_MASK)))


@numba.njit(cache=True, nogil=True)
def raw_scores(  # noqa: PLR0917  as above
    rows: Floats,
    scores: Floats,
    feature: Ints,
    kind: Ints,
    missing_rank: Ints,
    start: Ints,
    thresholds: Floats,
    words: Ints,
    nodes: Nodes,
    leaf: Floats,
    root: Ints,
    order: Ints,
    depth: Ints,
) -> None:
    """Add to `scores` (n x classes) what the trees give for `rows` (n x features)."""
    classes = scores.shape[1]
    ranks = np.zeros(_COLUMNS, np.int64)
    values = np.empty(root.shape[0], np.float64)
    for number in range(rows.shape[0]):
        _rank(rows[number], ranks, feature, kind, missing_rank, start, thresholds, words)
        for group in range(depth.shape[0]):
            at = group * TREES_AT_ONCE
            t0, t1, t2, t3 = order[at], order[at + 1], order[at + 2], order[at + 3]
            t4, t5, t6, t7 = order[at + 4], order[at + 5], order[at + 6], order[at + 7]
            r0, r1, r2, r3 = root[t0], root[t1], root[t2], root[t3]
            r4, r5, r6, r7 = root[t4], root[t5], root[t6], root[t7]
            p0 = p1 = p2 = p3 = p4 = p5 = p6 = p7 = np.int64(0)
            for _ in range(depth[group]):
                p0 = _step(nodes, r0, p0, ranks)
                p1 = _step(nodes, r1, p1, ranks)
                p2 = _step(nodes, r2, p2, ranks)
                p3 = _step(nodes, r3, p3, ranks)
                p4 = _step(nodes, r4, p4, ranks)
                p5 = _step(nodes, r5, p5, ranks)
                p6 = _step(nodes, r6, p6, ranks)
                p7 = _step(nodes, r7, p7, ranks)
            values[t0], values[t1], values[t2], values[t3] = leaf[r0 + p0], leaf[r1 + p1], leaf[r2 + p2], leaf[r3 + p3]
            values[t4], values[t5], values[t6], values[t7] = leaf[r4 + p4], leaf[r5 + p5], leaf[r6 + p6], leaf[r7 + p7]
        for tree in range(root.shape[0]):
            scores[number, tree % classes] += values[tree]


@numba.njit(cache=True, nogil=True)
def softmax(scores: Floats) -> None:
    """Replace each row of `scores` by its softmax."""
    for number in range(scores.shape[0]):
        row = scores[number]
        greatest = row.max()
        total = 0.0
        for place in range(row.shape[0]):
            row[place] = math.exp(row[place] - greatest)
            total += row[place]
        for place in range(row.shape[0]):
            row[place] /= total
