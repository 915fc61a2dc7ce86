"""The Parquet history: the write-ahead log that the online store, training sets and reports are made from.

Files are immutable and chained: `<dataset>/dt=YYYY-MM-DD/<topic>-<partition>-<first offset>.parquet` holds the accepted rows of
the offsets first to last (rejected ones leave no row, but belong to the range); the last offset is in the footer. A file is
created only if its name is free, so of two owners that extend the same end the second one fails. A later epoch lies in a
folder of its own, `<dataset>/epoch=N/`.
"""

import io
import json
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from feature_repo.offline.epochs import Epochs
from feature_repo.offline.files import Files, open_files
from feature_repo.schemas import TIME, Dataset
from runtime.errors import BrokenHistory, HistoryConflict, InfrastructureError
from runtime.settings import Settings

FOOTER_KEY = b"habitus.offsets"
_OFFSET_DIGITS = 20  # Kafka offsets are 64-bit; zero-padded, so that names sort as offsets do
_COMPRESSION = "zstd"
_WRITER_KEY = b"habitus.writer"  # who wrote a file, so that its writer, trying again, knows it for its own
_FILE = re.compile(rf"dt=\d{{4}}-\d{{2}}-\d{{2}}/(.+-\d+-)\d{{{_OFFSET_DIGITS}}}\.parquet")


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


@dataclass(frozen=True)
class History:
    """The history of one dataset: in one epoch, as its writers see it, or in whichever is current, as readers do."""

    files: Files
    dataset: Dataset
    epoch: int | None = None
    writer: str = field(default_factory=lambda: uuid4().hex)

    @property
    def epochs(self) -> Epochs:
        """The ledger of the dataset's epochs."""
        return Epochs(self.files, self.dataset.name)

    def at(self, epoch: int) -> "History":
        """The history in `epoch`."""
        return replace(self, epoch=epoch)

    def end(self, topic: str, partition: int) -> int | None:
        """The last offset that the history covers; None if it holds nothing of the partition.

        What a writer is told so is durable: its last file may be of one who was killed before he could see to that.
        """
        names = self._names(topic, partition)
        if not names:
            return None
        if self.epoch is not None:
            self.files.confirm(names[-1])
        return _range_of(self._open(names[-1])).last

    def append(self, rows: pa.Table, offsets: OffsetRange, first_timestamp: datetime) -> None:
        """Publish `rows` durably as the history of `offsets`: all of them become visible, or none.

        `first_timestamp` is the Kafka timestamp of the first record, accepted or not; its date names the folder.
        Raises `HistoryConflict` if the range is taken, `InfrastructureError` if the storage fails: then it may be tried again,
        whether or not the file came to be (what this same object has written is no conflict).
        """
        name = (
            f"{self._folder}dt={first_timestamp.astimezone(UTC):%Y-%m-%d}/"
            f"{_stem(offsets.topic, offsets.partition)}{offsets.first:0{_OFFSET_DIGITS}d}.parquet"
        )
        footer = {FOOTER_KEY: json.dumps(asdict(offsets)).encode(), _WRITER_KEY: self.writer.encode()}
        table = rows.cast(self.dataset.schema).replace_schema_metadata(footer)
        try:
            self.files.create(name, _parquet(table))
        except FileExistsError as error:
            raise HistoryConflict(f"{offsets} was extended by another owner: {name} exists") from error

    def read_after(self, topic: str, partition: int, offset: int | None = None) -> Iterator[pa.Table]:
        """The rows of a partition with offsets above `offset` (None: all), in order, a table a file.

        Raises `BrokenHistory` where a file between two others is lost or one is torn: nothing is passed over in silence.
        """
        covered, hole = yield from self._read_chain(topic, partition, -1 if offset is None else offset)
        if hole is None:
            return
        # A listing that was made while files were added may hold a later one and lack an earlier one; the next one holds both.
        covered, hole = yield from self._read_chain(topic, partition, covered)
        if hole is not None:
            raise BrokenHistory(f"the history of {topic}[{partition}] lacks the offsets {covered + 1} to {hole - 1}")

    def accepted(self, topic: str, partition: int, first: int, last: int) -> set[int]:
        """The offsets from `first` to `last` that have a row. Raises `BrokenHistory` if a file of theirs is lost or torn."""
        names, found, covered = self._names(topic, partition), set[int](), first - 1
        for name, after in zip(names, [*names[1:], None], strict=True):
            if _first_offset(name) > last or (after is not None and _first_offset(after) <= first):
                continue
            file = self._open(name)
            offsets = _range_of(file)
            if offsets.first > covered + 1:
                raise BrokenHistory(f"the history of {topic}[{partition}] lacks the offsets {covered + 1} to {offsets.first - 1}")
            covered = max(covered, offsets.last)
            found.update(self._rows(file)["source_offset"].to_pylist())
        return {offset for offset in found if first <= offset <= last}

    def read_files(self, topic: str, partition: int) -> Iterator[tuple[pa.Table, frozenset[str]]]:
        """The rows of each file of a partition, in order, and the columns it was written without: these read as null."""
        for name in self._names(topic, partition):
            file = self._open(name)
            lacking = frozenset(self.dataset.schema.names).difference(file.schema_arrow.names)
            yield self._rows(file), lacking

    def scan(
        self, columns: Sequence[str] | None = None, *, since: datetime | None = None, until: datetime | None = None
    ) -> pa.Table:
        """All rows (of the event times in [since, until)), in no promised order; an empty table if there are none."""
        chosen, folder = list(columns or self.dataset.schema.names), self._folder
        names = [name for name in self.files.names(folder) if _FILE.fullmatch(name.removeprefix(folder))]
        if not names:
            return self.dataset.schema.empty_table().select(chosen)
        return self.files.table(names, self.dataset.schema, chosen, _between(since, until))

    @property
    def _folder(self) -> str:
        return epoch_folder(self.dataset.name, self.epochs.current() if self.epoch is None else self.epoch)

    def _names(self, topic: str, partition: int) -> list[str]:
        folder = self._folder
        found = ((name, _FILE.fullmatch(name.removeprefix(folder))) for name in self.files.names(folder))
        mine = (name for name, parts in found if parts and parts[1] == _stem(topic, partition))
        return sorted(mine, key=_first_offset)

    def _read_chain(self, topic: str, partition: int, after: int) -> Generator[pa.Table, None, tuple[int, int | None]]:
        """Gives the rows above `after`; returns how far they reach, and where it goes on if that is not the next offset."""
        names, covered = self._names(topic, partition), after
        for position, name in enumerate(names):
            # A file that starts at or before `after` + 1 may end after it, the ones before that cannot.
            if position + 1 < len(names) and _first_offset(names[position + 1]) <= after + 1:
                continue
            file = self._open(name)
            offsets = _range_of(file)
            if offsets.first > covered + 1:
                return covered, offsets.first
            covered = max(covered, offsets.last)
            yield self._rows(file).filter(pc.field("source_offset") > after)
        return covered, None

    def _open(self, name: str) -> pq.ParquetFile:
        try:
            data = pa.BufferReader(self.files.read(name))
        except FileNotFoundError as error:
            raise InfrastructureError(f"{name} in {self.files.uri} was there and is gone") from error
        with _whole(f"{name} in {self.files.uri}"):
            return pq.ParquetFile(data)

    def _rows(self, file: pq.ParquetFile) -> pa.Table:
        """As this code knows them: a column that the file lacks is null, others are left out."""
        schema = self.dataset.schema
        with _whole(f"a file of {self.dataset.name} in {self.files.uri}"):
            found = file.read()
            lacking = set(schema.names).difference(found.column_names)
            columns = [pa.nulls(found.num_rows, each.type) if each.name in lacking else found[each.name] for each in schema]
            return pa.Table.from_arrays(columns, names=schema.names).cast(schema)


@contextmanager
def _whole(what: str) -> Iterator[None]:
    """Whatever a reader of Parquet makes of flipped bits, the file is broken. Raises `BrokenHistory`."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, LookupError, OSError) as error:
        raise BrokenHistory(f"{what} is no whole file of a history: {error}") from error


def open_history(settings: Settings, dataset: Dataset) -> History:
    """The history of `dataset` where the settings say, as readers see it."""
    return History(open_files(settings.offline), dataset)


def epoch_folder(dataset: str, epoch: int) -> str:
    """The folder of an epoch's files, with its '/': the dataset's own for the first epoch."""
    return f"{dataset}/epoch={epoch}/" if epoch else f"{dataset}/"


def _stem(topic: str, partition: int) -> str:
    return f"{topic}-{partition}-"


def _range_of(file: pq.ParquetFile) -> OffsetRange:
    with _whole("what lies among the history's files"):
        return OffsetRange(**json.loads(file.schema_arrow.metadata[FOOTER_KEY]))


def _first_offset(name: str) -> int:
    return int(name.removesuffix(".parquet")[-_OFFSET_DIGITS:])


def _between(since: datetime | None, until: datetime | None) -> ds.Expression | None:
    when = ds.field("event_timestamp")
    bounds = [when >= pa.scalar(since, TIME)] if since else []
    bounds += [when < pa.scalar(until, TIME)] if until else []
    if not bounds:
        return None
    return bounds[0] if len(bounds) == 1 else bounds[0] & bounds[1]


def _parquet(table: pa.Table) -> bytes:
    whole = io.BytesIO()
    pq.write_table(table, whole, compression=_COMPRESSION)
    return whole.getvalue()
