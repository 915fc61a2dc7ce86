"""Rows compared bit for bit: a null equals a null, a NaN its own bits, and 0.0 is not -0.0."""

import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Bools = npt.NDArray[np.bool_]
_DOUBLE = struct.Struct("<d")


def same(one: Any, other: Any) -> bool:
    """Whether two values are of one type and the same bits."""
    if isinstance(one, float) and isinstance(other, float):
        return _DOUBLE.pack(one) == _DOUBLE.pack(other)
    return type(one) is type(other) and bool(one == other)


def differing(one: pa.Table, other: pa.Table, lacking: frozenset[str] = frozenset()) -> Mapping[str, Bools]:
    """By column of `one` which rows differ from those of `other` in the same places; columns without a difference are left out.

    A null of `other` in a column that it was written without (`lacking`) is none.
    """
    found = {name: _differing(one[name], other[name], excused=name in lacking) for name in one.column_names}
    return {name: rows for name, rows in found.items() if rows.any()}


def told(one: pa.Table, other: pa.Table, cells: Mapping[str, Bools], row: int, places: tuple[str, str]) -> str:
    """The differences of one row as phrases; `places` say where the values of `one` and `other` stand."""
    return phrases(((name, one[name][row].as_py(), other[name][row].as_py()) for name in cells if cells[name][row]), places)


def phrases(values: Iterable[tuple[str, Any, Any]], places: tuple[str, str]) -> str:
    """Names and the two values each has, as text."""
    return "; ".join(f"{name} is {one!r} {places[0]}, {other!r} {places[1]}" for name, one, other in values)


def _differing(one: pa.ChunkedArray, other: pa.ChunkedArray, *, excused: bool) -> Bools:
    absent, also_absent = _bools(one.is_null()), _bools(other.is_null())
    unlike = ~_bools(_equal(one, other))
    return np.where(also_absent, ~absent & (not excused), unlike | absent)


def _equal(one: pa.ChunkedArray, other: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(one.type):
        one, other = _bits(one), _bits(other)
    return pc.fill_null(pc.equal(one, other), fill_value=False)


def _bits(column: pa.ChunkedArray) -> pa.Array:
    return pa.array(pc.fill_null(column, 0.0).to_numpy().view(np.int64))


def _bools(values: pa.ChunkedArray) -> Bools:
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=bool)
