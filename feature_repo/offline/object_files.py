"""The files of the history on object storage: an object is put whole, and only if its name is free (`If-None-Match: *`).

Place in the flow: what `files` is for a folder. Credentials, region and endpoint come from the environment, under the names that
every S3 client reads: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP.
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
import pyarrow as pa
import pyarrow.dataset as ds
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from pyarrow.fs import FSSpecHandler, PyFileSystem

from runtime.errors import InfrastructureError, Unavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# The stream tries again by itself, and says so; a client that tries for three minutes would look like a hang.
_CONNECT_WITHIN, _ANSWER_WITHIN = timedelta(seconds=3), timedelta(seconds=30)
_RETRIES: "RetryConfig" = {"max_retries": 3, "retry_timeout": timedelta(seconds=10)}
_REFUSED = (PermissionDeniedError, UnauthenticatedError)
_SAFE = (r"<Code>(\w+)</Code>", r"status code: (\d{3} [\w ]+)", r"kind: (\w+)")
_REMEDY = "see HABITUS_OFFLINE_URI, AWS_ENDPOINT_URL, AWS_REGION and the AWS credentials"


class ObjectFiles:
    """Files below `s3://bucket/prefix`."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.uri = uri.rstrip("/")
        prefix = parts.path.strip("/") or None
        self._store = S3Store(parts.netloc, prefix=prefix, client_options=_client_options(), retry_config=_RETRIES)
        self._arrow = PyFileSystem(_ReadOnly(self._store))

    def create(self, name: str, data: bytes) -> None:
        """As `Files.create`. An object is visible when it is there whole, and durable when the storage has answered."""
        try:
            with self._answering(name):
                obstore.put(self._store, name, data, mode="create", use_multipart=False)
        except FileNotFoundError as error:
            raise self._no_bucket(name) from error
        except FileExistsError:
            if not self._holds(name, data):
                raise

    def confirm(self, name: str) -> None:
        """As `Files.confirm`: what is visible on object storage is durable."""

    def read(self, name: str) -> bytes:
        """As `Files.read`."""
        with self._answering(name):
            return bytes(obstore.get(self._store, name).bytes())

    def names(self, folder: str) -> list[str]:
        """As `Files.names`."""
        with self._answering(folder):
            return sorted(each["path"] for part in obstore.list(self._store, prefix=folder or None) for each in part)

    def table(
        self, names: Sequence[str], schema: pa.Schema, columns: Sequence[str], condition: ds.Expression | None = None
    ) -> pa.Table:
        """As `Files.table`."""
        try:
            with self._answering(f"one of {len(names)} files"):
                source = ds.dataset(list(names), schema=schema, format="parquet", filesystem=self._arrow)
                return source.to_table(columns=list(columns), filter=condition)
        except FileNotFoundError as error:
            raise InfrastructureError(f"{error} in {self.uri} was there and is gone") from error

    def _holds(self, name: str, data: bytes) -> bool:
        """Whether the object is what we have just tried to put: the answer to an earlier try may have been lost."""
        try:
            return self.read(name) == data
        except FileNotFoundError as error:
            # S3 may refuse one of two writers at once, and the other one then fail.
            raise Unavailable("object storage", f"{name} in {self.uri} was being written by another") from error

    def _no_bucket(self, name: str) -> InfrastructureError:
        return InfrastructureError(f"{name} in {self.uri}: there is no such bucket", remedy=_REMEDY)

    @contextmanager
    def _answering(self, name: str) -> Iterator[None]:
        """Our errors in place of the client's, whose texts show requests, and these may hold tokens."""
        try:
            yield
        except AlreadyExistsError:
            raise FileExistsError(name) from None
        except FileNotFoundError:
            raise FileNotFoundError(name) from None
        except _REFUSED as error:
            raise InfrastructureError(f"{name} in {self.uri}: access was refused ({_told(error)})", remedy=_REMEDY) from None
        except BaseError as error:
            if (told := _told(error)) == "NoSuchBucket":
                raise self._no_bucket(name) from None
            raise Unavailable("object storage", f"{name} in {self.uri} could not be reached ({told})") from None
        except pa.ArrowInvalid as error:
            raise InfrastructureError(f"{self.uri} could not be read: {error}") from error


def _client_options() -> "ClientConfig":
    """Given any options, the client reads none from the environment."""
    unencrypted = os.environ.get("AWS_ALLOW_HTTP", "").lower() in {"1", "true", "yes", "on"}
    return {"connect_timeout": _CONNECT_WITHIN, "timeout": _ANSWER_WITHIN, "allow_http": unencrypted}


def _told(error: BaseError) -> str:
    """What of an error is safe to show: S3's code, or the kind of the failure."""
    found = (re.search(pattern, str(error)) for pattern in _SAFE)
    return next((each[1] for each in found if each), type(error).__name__)


class _ReadOnly(FSSpecHandler):  # type: ignore[misc]  # pyarrow has no types
    """The one thing that Arrow needs to scan objects by their names: to open one, to seek in it and to read."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    def open_input_file(self, path: str) -> pa.PythonFile:
        """The object, of which what is asked for is read."""
        return pa.PythonFile(_Seekable(obstore.open_reader(self._store, path)), mode="r")

    def get_type_name(self) -> str:
        return "obstore"

    def normalize_path(self, path: str) -> str:
        return path

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)


class _Seekable(io.RawIOBase):
    """An object as Python's files are; the client's reader knows no end of it and gives bytes of its own kind."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def read(self, size: int = -1) -> bytes:
        return bytes(self._reader.read(None if size < 0 else size))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return int(self._reader.seek(offset, whence))

    def tell(self) -> int:
        return int(self._reader.tell())

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
