"""Download the published rows: Kaggle's S4E2 training file (history) and the UCI dataset 544 (production).

Place in the flow: `sources.py` asks for what the cache lacks. A file enters the cache only after it was verified, whole, with
its content's SHA-256 beside it.
"""

import base64
import hashlib
import io
import os
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urljoin

import pandas as pd

from habitus.data.columns import LEVEL, PUBLISHED
from habitus.data.files import UnreadableFile, read_rows
from habitus.data.settings import DataSettings
from runtime.errors import HabitusError

HISTORY_FILE, PRODUCTION_FILE = "train.csv", "current.csv"
_UCI_PATH = "static/public/544/estimation+of+obesity+levels+based+on+eating+habits+and+physical+condition.zip"
_KAGGLE_PATH = "api/v1/competitions/data/download-all/playground-series-s4e2"
_LARGEST_BYTES = 100 * 1024 * 1024  # the published archives have less than one megabyte


class DownloadFailed(HabitusError):
    """A publisher could not be reached, or sent something else than the data."""


@dataclass(frozen=True)
class Published:
    """One published file: who publishes it where, and under which name it enters the cache."""

    name: str
    publisher: str
    url: str
    credentials: tuple[str, str] | None = None


def published_files(settings: DataSettings) -> tuple[Published, ...]:
    """What can be downloaded with these settings: Kaggle's file only where credentials are set."""
    uci = Published(PRODUCTION_FILE, "UCI", urljoin(settings.uci_url, _UCI_PATH))
    if settings.kaggle_username is None or settings.kaggle_key is None:
        return (uci,)
    credentials = settings.kaggle_username, settings.kaggle_key.get_secret_value()
    return Published(HISTORY_FILE, "Kaggle", urljoin(settings.kaggle_url, _KAGGLE_PATH), credentials), uci


def download(file: Published, folder: Path, *, timeout_s: float) -> Path:
    """Bring `file` into `folder`, verified, and return its path. Raises `DownloadFailed`; then `folder` is as it was."""
    content = _rows_in(file, _fetch(file, timeout_s))
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".csv", prefix=".", dir=folder)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        verify_columns(read_rows(temporary), file.name)
    except UnreadableFile as error:
        temporary.unlink()
        raise DownloadFailed(f"{file.publisher}: not the published rows ({error})", remedy=_REMEDY) from error
    digest_file(folder / file.name).write_text(hashlib.sha256(content).hexdigest() + "\n", encoding="ascii")
    return temporary.replace(folder / file.name)


def digest_file(path: Path) -> Path:
    """Where the SHA-256 of a cached file stands."""
    return path.with_name(f"{path.name}.sha256")


def verify_columns(rows: pd.DataFrame, name: str) -> None:
    """Raises `UnreadableFile`, naming them, if published columns are missing in `rows`."""
    missing = [column for column in (*PUBLISHED, LEVEL) if column not in rows]
    if missing:
        raise UnreadableFile(
            f"{name}: column {', '.join(missing)} is missing", remedy="use a file with the published columns as its header"
        )


_REMEDY = "try again later, or put train.csv and current.csv into a folder and set HABITUS_DATA to it"


def _fetch(file: Published, timeout_s: float) -> bytes:
    request = urllib.request.Request(file.url)  # noqa: S310  the address is the operator's own setting
    if file.credentials:
        request.add_unredirected_header("Authorization", _basic(*file.credentials))
    opener = urllib.request.build_opener()
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            content = answer.read(_LARGEST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:  # it holds the connection
            raise DownloadFailed(f"{file.publisher} ({file.url}): {_refusal(error)}", remedy=_REMEDY) from error
    except (urllib.error.URLError, HTTPException, OSError) as error:
        raise DownloadFailed(f"{file.publisher} ({file.url}): {getattr(error, 'reason', error)}", remedy=_REMEDY) from error
    if len(content) > _LARGEST_BYTES:
        raise DownloadFailed(f"{file.publisher}: more than {_LARGEST_BYTES} bytes", remedy=_REMEDY)
    return bytes(content)


def _basic(user: str, key: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{key}".encode()).decode("ascii")


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code in {401, 403}:
        return f"HTTP {error.code}: the credentials were refused, or the competition's rules were not accepted on kaggle.com"
    return f"HTTP {error.code} {error.reason}"


def _rows_in(file: Published, content: bytes) -> bytes:
    """The CSV in the publisher's zip: the one named as ours, else the only one. Raises `DownloadFailed`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            tables = [name for name in archive.namelist() if name.lower().endswith(".csv")]
            chosen = [name for name in tables if Path(name).name == file.name] or tables
            if len(chosen) != 1:
                raise DownloadFailed(f"{file.publisher}: the archive holds {tables or 'no table'}", remedy=_REMEDY)
            if archive.getinfo(chosen[0]).file_size > _LARGEST_BYTES:
                raise DownloadFailed(f"{file.publisher}: {chosen[0]} is too large", remedy=_REMEDY)
            return archive.read(chosen[0])
    except zipfile.BadZipFile as error:
        raise DownloadFailed(f"{file.publisher}: what it sent is no zip archive", remedy=_REMEDY) from error
