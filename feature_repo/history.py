"""The Parquet history: the write-ahead log that the online store, training sets and reports are made from.

Files are immutable and chained: `<root>/<dataset>/dt=YYYY-MM-DD/<topic>-<partition>-<first offset>.parquet` holds the
accepted rows of the offsets first to last (rejected ones leave no row, but belong to the range); the last offset is
in the footer. A file is created only if its name is free, so of two owners that extend the same end the second one
fails.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from feature_repo.schemas import TIME, Dataset
from runtime.errors import HistoryConflict, InfrastructureError

FOOTER_KEY = b"habitus.offsets"
_OFFSET_DIGITS = 20  # Kafka offsets are 64-bit; zero-padded, so that names sort as offsets do
_COMPRESSION = "zstd"


@dataclass(frozen=True)
class OffsetRange:
    """The offsets `first` to `last`, both included, of one partition."""

    topic: str
    partition: int
    first: int
    last: int

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise ValueError(f"{self} is no range")

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.first}-{self.last}"


class History:
    """The history of one dataset, below `root` (the offline store's folder)."""

    def __init__(self, root: Path, dataset: Dataset) -> None:
        self.dataset = dataset
        self.folder = root / dataset.name

    def end(self, topic: str, partition: int) -> int | None:
        """The last offset that the history covers; None if it holds nothing of the partition."""
        files = self._files(topic, partition)
        return _range_of(files[-1]).last if files else None

    def append(self, rows: pa.Table, offsets: OffsetRange, first_timestamp: datetime) -> Path:
        """Publish `rows` durably as the history of `offsets`: all of them become visible, or none.

        `first_timestamp` is the Kafka timestamp of the first record, accepted or not; its date names the folder.
        Raises `HistoryConflict` if the range is taken, `InfrastructureError` if the disk fails; then nothing was published.
        """
        folder = self.folder / f"dt={first_timestamp.astimezone(UTC):%Y-%m-%d}"
        name = f"{_stem(offsets.topic, offsets.partition)}{offsets.first:0{_OFFSET_DIGITS}d}.parquet"
        footer = {FOOTER_KEY: json.dumps(asdict(offsets)).encode()}
        table = rows.cast(self.dataset.schema).replace_schema_metadata(footer)
        try:
            _make_durable_folder(folder, self.folder.parent)
            return _publish(table, folder / name)
        except FileExistsError as error:
            raise HistoryConflict(f"{offsets} was extended by another owner: {name} exists") from error
        except OSError as error:
            raise InfrastructureError(f"{offsets} could not be written below {folder}: {error}") from error

    def read_after(self, topic: str, partition: int, offset: int | None = None) -> Iterator[pa.Table]:
        """The rows of a partition with offsets above `offset` (None: all), in order, a table a file."""
        after = -1 if offset is None else offset
        files = self._files(topic, partition)
        # The chain has no holes: a file that starts at or before `after` + 1 may end after it, the ones before that cannot.
        for position, path in enumerate(files):
            if position + 1 < len(files) and _first_offset(files[position + 1]) <= after + 1:
                continue
            rows = pq.ParquetFile(path).read().select(self.dataset.schema.names)
            yield rows.filter(pc.field("source_offset") > after)

    def scan(
        self, columns: Sequence[str] | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> pa.Table:
        """All rows (of the event times in [since, until)), in no promised order; an empty table if there are none."""
        names = list(columns or self.dataset.schema.names)
        files = sorted(self.folder.glob("dt=*/*.parquet"))
        if not files:
            return self.dataset.schema.empty_table().select(names)
        source = ds.dataset(files, schema=self.dataset.schema, format="parquet")
        return source.to_table(columns=names, filter=_between(since, until))

    def _files(self, topic: str, partition: int) -> list[Path]:
        pattern = re.compile(re.escape(_stem(topic, partition)) + rf"\d{{{_OFFSET_DIGITS}}}\.parquet")
        found = (path for path in self.folder.glob("dt=*/*.parquet") if pattern.fullmatch(path.name))
        return sorted(found, key=_first_offset)


def _stem(topic: str, partition: int) -> str:
    return f"{topic}-{partition}-"


def _first_offset(path: Path) -> int:
    return int(path.stem[-_OFFSET_DIGITS:])


def _range_of(path: Path) -> OffsetRange:
    footer = pq.read_schema(path).metadata or {}
    return OffsetRange(**json.loads(footer[FOOTER_KEY]))


def _between(since: datetime | None, until: datetime | None) -> ds.Expression | None:
    when = ds.field("event_timestamp")
    bounds = [when >= pa.scalar(since, TIME)] if since else []
    bounds += [when < pa.scalar(until, TIME)] if until else []
    if not bounds:
        return None
    return bounds[0] if len(bounds) == 1 else bounds[0] & bounds[1]


def _publish(table: pa.Table, path: Path) -> Path:
    """Write beside `path`, force to disk, then link: a link fails where a rename would replace. Raises `FileExistsError`."""
    draft = path.parent / f".{uuid4().hex}.parquet.tmp"
    try:
        with draft.open("xb") as file:
            pq.write_table(table, file, compression=_COMPRESSION)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        _fsync_folder(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    return path


def _make_durable_folder(folder: Path, root: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder.parent, root):
        _fsync_folder(each)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
