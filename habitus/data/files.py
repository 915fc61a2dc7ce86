"""Rows from and to files: CSV, JSON lines, Parquet, by the file's ending.

A cell is kept as it is in the file, so that the stream judges it, not we: a number that is none stays the text that it was.
"""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.person import ALIASES
from habitus.data.columns import NUMERIC, TIME
from runtime.errors import HabitusError

FORMATS = (".csv", ".jsonl", ".parquet")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_NUMBERS = {*NUMERIC, *(ALIASES[name] for name in NUMERIC)}


class UnreadableFile(HabitusError):
    """A file that holds no rows we can read; the message names the file and, where there is one, the line."""


def read_rows(path: Path) -> pd.DataFrame:
    """The rows of `path` in file order; missing cells are None or NaN. Raises `UnreadableFile`."""
    readers = {".csv": _read_csv, ".jsonl": _read_json_lines, ".parquet": _read_parquet}
    if path.suffix.lower() not in readers:
        raise UnreadableFile(f"{path}: unknown kind of file", remedy=f"name a file that ends in {', '.join(FORMATS)}")
    if not path.is_file():
        raise UnreadableFile(f"{path}: no such file", remedy="check the path")
    rows = readers[path.suffix.lower()](path)
    if rows.empty:
        raise UnreadableFile(f"{path}: the file holds no rows", remedy="check that the file was written completely")
    return rows


def write_rows(rows: pd.DataFrame, path: Path) -> None:
    """Write `rows` to `path` in the format of its ending; times as RFC 3339 text in CSV and JSON lines."""
    if path.suffix.lower() not in FORMATS:
        raise UnreadableFile(f"{path}: unknown kind of file", remedy=f"let its name end in {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".parquet":
        rows.to_parquet(path, index=False)
        return
    text = rows.assign(**{TIME: [rfc3339(each) for each in rows[TIME]]}) if TIME in rows else rows
    if path.suffix.lower() == ".csv":
        text.to_csv(path, index=False)
    else:
        path.write_bytes(b"".join(_json_line(row) for row in text.to_dict("records")))


def _json_line(row: dict[Any, Any]) -> bytes:
    return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY)


def rfc3339(moment: pd.Timestamp) -> str:
    """`moment` (aware) in UTC to the millisecond, which is as fine as a Kafka timestamp."""
    return moment.tz_convert("UTC").isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            cells = [_checked(path, lines.line_num, header, line) for line in lines if line]
    except UnicodeDecodeError as error:
        raise UnreadableFile(f"{path}: not UTF-8 text ({error})", remedy="save the file as UTF-8") from error
    except csv.Error as error:
        _unreadable(path, lines.line_num, str(error), error)
    columns = zip(*cells, strict=True)
    return pd.DataFrame({name: _typed(name, column) for name, column in zip(header, columns, strict=False)})


def _checked(path: Path, number: int, header: list[str], line: list[str]) -> list[str]:
    if len(line) != len(header):
        _unreadable(path, number, f"{len(line)} cells where the header names {len(header)}")
    return line


def _typed(name: str, column: tuple[str, ...]) -> pd.Series:
    values: list[Any] = [cell if cell != "" else None for cell in column]
    if name in _NUMBERS:
        values = [float(cell) if cell and _NUMBER.fullmatch(cell) else cell for cell in values]
        if all(cell is None or isinstance(cell, float) for cell in values):
            return pd.Series(values, dtype="float64")
    return pd.Series(values, dtype="object")


def _read_json_lines(path: Path) -> pd.DataFrame:
    return pd.DataFrame(list(_objects(path)))


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                _unreadable(path, number, f"not JSON ({error})", error)
            if not isinstance(row, dict):
                _unreadable(path, number, "not a JSON object")
            yield row


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        rows: pd.DataFrame = pq.ParquetFile(path).read().to_pandas()
    except (pa.ArrowInvalid, OSError) as error:
        raise UnreadableFile(f"{path}: not a Parquet file ({error})", remedy="check how the file was written") from error
    return rows


def _unreadable(path: Path, line: int, what: str, cause: Exception | None = None) -> NoReturn:
    remedy = "correct or remove that line, then run again; lines before it were not sent"
    raise UnreadableFile(f"{path}, line {line}: {what}", remedy=remedy) from cause
