"""Immutable files below one root: created only if absent, visible only whole, durable once created.

Place in the flow: under `history` and `epochs`, which know nothing of disks and buckets. Here is the local folder;
`object_files` is the same on object storage.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds

from runtime.clock import Clock, SystemClock
from runtime.errors import InfrastructureError

_DRAFT = ".tmp"
_ABANDONED_AFTER_S = 3600.0  # no file takes that long to write


class Files(Protocol):
    """Names are relative to the root, parts joined by '/'. Every method raises `InfrastructureError` if the storage fails."""

    uri: str

    def create(self, name: str, data: bytes) -> None:
        """Make the file `name` of `data`, durably and at once, and only if there is none.

        Raises `FileExistsError`. After an `InfrastructureError` the file is there or not, whole in either case; to create it
        again with the very same data settles that, and is no conflict. So data that one writer alone may create names him.
        """
        ...

    def confirm(self, name: str) -> None:
        """Make sure that the file, which is visible, outlives a crash of the machine, whoever created it."""
        ...

    def read(self, name: str) -> bytes:
        """All of the file. Raises `FileNotFoundError`."""
        ...

    def names(self, folder: str) -> list[str]:
        """The files in `folder` and the folders below it, sorted; none if it does not exist."""
        ...

    def table(
        self, names: Sequence[str], schema: pa.Schema, columns: Sequence[str], condition: ds.Expression | None = None
    ) -> pa.Table:
        """The rows of Parquet files that meet `condition`; no more is read than that needs.

        They are read as `schema`: a column that a file lacks is null, one that it has beside is left out.
        """
        ...


class LocalFiles:
    """Files in a folder.

    A file is written beside its place, forced to disk, then linked: a link fails where a rename replaces.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self.root = root
        self.uri = str(root)
        self._clock = clock or SystemClock()
        self._durable: set[Path] = set()
        self._tidy: set[str] = set()

    def create(self, name: str, data: bytes) -> None:
        """As `Files.create`."""
        path = self.root / name
        with self._writing(name):
            self._tidy_up_once(name)
            self._make_durable_folder(path.parent)
            try:
                self._link_whole(path, data)
            except FileExistsError:
                if path.read_bytes() != data:
                    raise
            self._sync_folder(path.parent)

    def confirm(self, name: str) -> None:
        """As `Files.confirm`: a writer that was killed may have linked the file and not yet forced its folder to disk."""
        path = self.root / name
        with self._writing(name):
            self._durable.discard(path.parent)
            self._make_durable_folder(path.parent)

    def read(self, name: str) -> bytes:
        """As `Files.read`."""
        with self._reading():
            return (self.root / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """As `Files.names`."""
        with self._reading():
            found = [path for path in _files_below(self.root / folder) if not path.name.startswith(".")]
        return sorted(path.relative_to(self.root).as_posix() for path in found)

    def table(
        self, names: Sequence[str], schema: pa.Schema, columns: Sequence[str], condition: ds.Expression | None = None
    ) -> pa.Table:
        """As `Files.table`."""
        try:
            with self._reading():
                source = ds.dataset([str(self.root / name) for name in names], schema=schema, format="parquet")
                return source.to_table(columns=list(columns), filter=condition)
        except FileNotFoundError as error:
            raise InfrastructureError(f"a file below {self.root} was there and is gone: {error}") from error

    def remove_abandoned_drafts(self, folder: str) -> int:
        """Remove what killed writers left half-written in `folder` an hour ago or earlier; returns how many files."""
        oldest = self._clock.now().timestamp() - _ABANDONED_AFTER_S
        removed = 0
        for draft in [path for path in _files_below(self.root / folder) if _is_draft(path)]:
            with suppress(FileNotFoundError):  # its writer is alive and has just finished, or another one removes it too
                if draft.stat().st_mtime < oldest:
                    draft.unlink()
                    removed += 1
        return removed

    def _tidy_up_once(self, name: str) -> None:
        """Who begins to write a dataset removes what killed writers left in it."""
        dataset = name.partition("/")[0]
        if dataset not in self._tidy:
            self._tidy.add(dataset)
            self.remove_abandoned_drafts(dataset)

    def _link_whole(self, path: Path, data: bytes) -> None:
        draft = path.parent / f".{uuid4().hex}{_DRAFT}"
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            with suppress(OSError):  # the file's fate is known; a draft that stays is removed later
                draft.unlink()

    def _make_durable_folder(self, folder: Path) -> None:
        """Another process may have made the folder and been killed before that was on disk: so every one sees to it once."""
        if folder in self._durable:
            return
        ours = [each for each in (folder, *folder.parents) if each.is_relative_to(self.root)]
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(*error.args) from error
        for each in dict.fromkeys([*ours, *(each.parent for each in missing)]):
            self._sync_folder(each)
        self._durable.add(folder)

    def _sync_folder(self, folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            self._durable.clear()  # somebody may have removed a folder
            raise InfrastructureError(f"{name} could not be written below {self.root}: {error}") from error

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowInvalid) as error:
            raise InfrastructureError(f"{self.root} could not be read: {error}") from error


def open_files(uri: str) -> Files:
    """The storage at `uri`: a folder, or `s3://bucket/prefix`."""
    if "://" not in uri:
        return LocalFiles(Path(uri))
    from feature_repo.offline.object_files import ObjectFiles  # noqa: PLC0415  who writes to a folder needs no client of object storage

    return ObjectFiles(uri)


def _files_below(top: Path) -> list[Path]:
    """All files, none if there is no such folder.

    Unlike `Path.rglob` it raises `OSError` where a folder cannot be read: a history that is not seen would be begun anew.
    """
    try:
        entries = os.scandir(top)
    except FileNotFoundError:
        return []
    with entries:
        found = list(entries)
    below = (_files_below(Path(each.path)) if each.is_dir() else [Path(each.path)] for each in found)
    return list(chain.from_iterable(below))


def _is_draft(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(_DRAFT)
