"""The files of the history on object storage: an object is put whole, and only if its name is free (`If-None-Match: *`).

Place in the flow: what `files` is for a folder. Credentials, region and endpoint come from the environment, under the names that
every S3 client reads: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast
from urllib.parse import urlsplit

import obstore
import pyarrow as pa
import pyarrow.dataset as ds
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.fsspec import FsspecStore
from obstore.store import S3Store
from pyarrow.fs import FSSpecHandler, PyFileSystem

from runtime.errors import Unavailable


class ObjectFiles:
    """Files below `s3://bucket/prefix`."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.uri = uri
        self._bucket = parts.netloc
        self._prefix = parts.path.strip("/")
        self._store = S3Store(self._bucket, prefix=self._prefix or None)
        self._arrow = PyFileSystem(FSSpecHandler(FsspecStore("s3")))

    def create(self, name: str, data: bytes) -> None:
        """As `Files.create`. The storage makes an object visible when it is there whole, and says so when it is durable."""
        with self._answering(name):
            obstore.put(self._store, name, data, mode="create", use_multipart=False)

    def read(self, name: str) -> bytes:
        """As `Files.read`."""
        with self._answering(name):
            return bytes(obstore.get(self._store, name).bytes())

    def open(self, name: str) -> BinaryIO:
        """As `Files.open`."""
        with self._answering(name):
            return cast("BinaryIO", obstore.open_reader(self._store, name))

    def names(self, prefix: str) -> list[str]:
        """As `Files.names`."""
        folder = prefix.rpartition("/")[0]
        with self._answering(prefix):
            found = [each["path"] for part in obstore.list(self._store, prefix=folder or None) for each in part]
        return sorted(name for name in found if name.startswith(prefix))

    def dataset(self, names: Sequence[str], schema: pa.Schema) -> ds.Dataset:
        """As `Files.dataset`."""
        paths = ["/".join(filter(None, (self._bucket, self._prefix, name))) for name in names]
        return ds.dataset(paths, schema=schema, format="parquet", filesystem=self._arrow)

    @contextmanager
    def _answering(self, name: str) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError as error:
            raise FileExistsError(name) from error
        except NotFoundError as error:
            raise FileNotFoundError(name) from error
        except BaseError as error:
            raise Unavailable("object storage", f"{name} in {self.uri}: {error}") from error
