"""Immutable files below one root: created only if absent, visible only whole, durable once created.

Place in the flow: under `history` and `epochs`, which know nothing of disks and buckets. Here is the local folder;
`object_files` is the same on object storage.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

import pyarrow as pa
import pyarrow.dataset as ds

from runtime.errors import InfrastructureError

_DRAFT = ".parquet.tmp"
_ABANDONED_AFTER_S = 3600.0  # no file takes that long to write


class Files(Protocol):
    """Names are relative to the root, parts joined by '/'. Every method raises `InfrastructureError` if the storage fails."""

    uri: str

    def create(self, name: str, data: bytes) -> None:
        """Make the file `name` of `data`, durably and at once, and only if there is none.

        Raises `FileExistsError`. After an `InfrastructureError` the file is there or not, whole in either case.
        """
        ...

    def read(self, name: str) -> bytes:
        """All of the file. Raises `FileNotFoundError`."""
        ...

    def open(self, name: str) -> BinaryIO:
        """The file to seek and read in, for who wants a part of it. Raises `FileNotFoundError`."""
        ...

    def names(self, prefix: str) -> list[str]:
        """The files whose names start with `prefix`, a whole folder's with its '/', sorted."""
        ...

    def dataset(self, names: Sequence[str], schema: pa.Schema) -> ds.Dataset:
        """Parquet files as one Arrow dataset, read as `schema`: a column that a file lacks is null, others are left out."""
        ...


class LocalFiles:
    """Files in a folder.

    A file is written beside its place, forced to disk, then linked: a link fails where a rename replaces.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.uri = root.as_uri()

    def create(self, name: str, data: bytes) -> None:
        """As `Files.create`."""
        path = self.root / name
        try:
            self._make_durable_folder(path.parent)
            self._publish(data, path)
        except FileExistsError:
            raise
        except OSError as error:
            raise InfrastructureError(f"{name} could not be written below {self.root}: {error}") from error

    def read(self, name: str) -> bytes:
        """As `Files.read`."""
        return (self.root / name).read_bytes()

    def open(self, name: str) -> BinaryIO:
        """As `Files.open`."""
        return (self.root / name).open("rb")

    def names(self, prefix: str) -> list[str]:
        """As `Files.names`."""
        folder = self.root / prefix.rpartition("/")[0]
        found = (path.relative_to(self.root).as_posix() for path in folder.rglob("*") if not path.name.startswith("."))
        return sorted(name for name in found if name.startswith(prefix) and (self.root / name).is_file())

    def dataset(self, names: Sequence[str], schema: pa.Schema) -> ds.Dataset:
        """As `Files.dataset`."""
        return ds.dataset([str(self.root / name) for name in names], schema=schema, format="parquet")

    def remove_abandoned_drafts(self, folder: str) -> int:
        """Remove what writers that were killed left behind in `folder`; returns how many."""
        found = (self.root / folder).rglob(f".*{_DRAFT}")
        drafts = [path for path in found if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_S]
        for draft in drafts:
            draft.unlink(missing_ok=True)
        return len(drafts)

    def _publish(self, data: bytes, path: Path) -> None:
        draft = path.parent / f".{uuid4().hex}{_DRAFT}"
        try:
            with draft.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
        _fsync_folder(path.parent)

    def _make_durable_folder(self, folder: Path) -> None:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for each in reversed(missing):
            _fsync_folder(each.parent)


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_files(uri: str) -> Files:
    """The storage at `uri`: a folder, or `s3://bucket/prefix`."""
    if "://" not in uri:
        return LocalFiles(Path(uri))
    from feature_repo.object_files import ObjectFiles  # noqa: PLC0415  who writes to a folder needs no client of object storage

    return ObjectFiles(uri)
