"""The history's rows of one partition, handed out in steps, so that a file or two are in memory at a time."""

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from streams.verification.chosen import Chosen


@dataclass(frozen=True)
class Piece:
    """Rows of one file, and the columns that the file was written without: a null there was never a value."""

    rows: pa.Table
    lacking: frozenset[str]


class HistoryRows:
    """Rows of chosen persons up to the offset `last`; `later` ones came while they were read, or do not belong there."""

    def __init__(self, files: Iterator[tuple[pa.Table, frozenset[str]]], chosen: Chosen, last: int) -> None:
        self._files = files
        self._chosen = chosen
        self._last = last
        self._newest_begins = -1
        self._pending: list[Piece] = []
        self.later: list[pa.Table] = []

    def up_to(self, offset: int) -> list[Piece]:
        """What was not handed out yet and lies at or below `offset`."""
        while self._newest_begins <= offset and self._pull():
            pass
        below = pc.field("source_offset") <= offset
        taken = [Piece(each.rows.filter(below), each.lacking) for each in self._pending]
        self._pending = [Piece(each.rows.filter(~below), each.lacking) for each in self._pending if each.rows.num_rows]
        return [each for each in taken if each.rows.num_rows]

    def rest(self) -> list[Piece]:
        """What was not handed out yet."""
        while self._pull():
            pass
        return self.up_to(self._last)

    def _pull(self) -> bool:
        rows, lacking = next(self._files, (None, frozenset()))
        if rows is None:
            return False
        lowest = pc.min(rows["source_offset"]).as_py()
        self._newest_begins = self._newest_begins if lowest is None else lowest
        kept, upto = self._chosen.rows(rows).replace_schema_metadata(None), pc.field("source_offset") <= self._last
        self._pending.append(Piece(kept.filter(upto), lacking))
        self.later.append(kept.filter(~upto).select(["person_id", "source_offset"]))
        return True
