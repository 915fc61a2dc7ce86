"""Local copies of registered models, which outlive the registry.

`<home>/models/<name>/<version>-<digest>/` holds a version's files and, in `contents.json`, the digest of each: a copy that a
crash or a hand has torn is told from a whole one, and fetched again. Several processes may share the folder: a copy is made under
a hidden name and renamed, and goes the same way.
"""

import json
import os
import shutil
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from loguru import logger

from runtime.clock import Clock
from runtime.errors import Unavailable
from runtime.registry import ModelVersion

CONTENTS = "contents.json"
_DIGEST_BYTES = 4
_ABANDONED_AFTER = timedelta(hours=1)  # longer than any download takes: who made this draft was killed

Download = Callable[[ModelVersion, Path], Path]


class LocalCopies:
    """The copies below `root`, made with `download`, which may raise `Unavailable`."""

    def __init__(self, root: Path, download: Download, clock: Clock) -> None:
        self._root = root
        self._download = download
        self._clock = clock

    def fetch(self, version: ModelVersion) -> Path:
        """The folder of a whole copy of `version`, downloaded if there is none. Raises `Unavailable`."""
        folder = self._root / name_of(version)
        if not self.is_whole(folder):
            self._make(version, folder)
        self._touch(folder)
        return folder

    def folder(self, name: str) -> Path | None:
        """The folder of the whole copy called `name`, from local files alone; None if there is none."""
        folder = self._root / name
        return folder if self.is_whole(folder) else None

    def is_whole(self, folder: Path) -> bool:
        """Whether every file of the copy is there as it was fetched."""
        try:
            expected = json.loads((folder / CONTENTS).read_text())
            return bool(expected == _digests(folder))
        except (OSError, ValueError):
            return False

    def tidy(self, needed: Collection[str], kept: int) -> None:
        """Delete all copies but those called `needed` and the `kept` last used others, and what killed processes left."""
        try:
            found = sorted((each for each in self._root.iterdir() if each.is_dir()), key=_used_at, reverse=True)
            unneeded = [each for each in found if not _is_draft(each) and each.name not in needed]
            abandoned = [each for each in found if _is_draft(each) and self._clock.now() - _used_at(each) > _ABANDONED_AFTER]
            for folder in (*unneeded[kept:], *abandoned):
                self._remove(folder)
        except OSError as error:
            logger.warning("old local copies of models stay: {}", error)

    def _make(self, version: ModelVersion, folder: Path) -> None:
        draft = self._draft()
        try:
            fetched = self._download(version, draft)
            (fetched / CONTENTS).write_text(json.dumps(_digests(fetched)))
            if not self.is_whole(folder):  # else another process was faster
                self._remove(folder)
                fetched.replace(folder)
        except OSError as error:
            if not self.is_whole(folder):  # else another process came between
                raise Unavailable("disk", f"{folder} cannot be written ({error})") from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Under its name the copy is whole or gone, never half there."""
        if folder.exists():
            leaving = self._draft()
            folder.replace(leaving)
            shutil.rmtree(leaving, ignore_errors=True)

    def _touch(self, folder: Path) -> None:
        now_s = self._clock.now().timestamp()
        try:
            os.utime(folder, (now_s, now_s))
        except OSError as error:
            logger.warning("when {} was used is not noted: {}", folder, error)

    def _draft(self) -> Path:
        return self._root / f".{uuid4().hex}"


def name_of(version: ModelVersion) -> str:
    """Unique to the registered version: a registry made anew counts from 1 again, with other files."""
    identity = f"{version.source} {version.run_id} {version.created_at.isoformat()}"
    return f"{version.version}-{blake2b(identity.encode(), digest_size=_DIGEST_BYTES).hexdigest()}"


def _digests(folder: Path) -> dict[str, str]:
    files = [each for each in sorted(folder.rglob("*")) if each.is_file() and each != folder / CONTENTS and not _is_cache(each)]
    return {str(each.relative_to(folder)): blake2b(each.read_bytes()).hexdigest() for each in files}


def _is_cache(path: Path) -> bool:
    return "__pycache__" in path.parts  # importing a model's own code writes it


def _is_draft(folder: Path) -> bool:
    return folder.name.startswith(".")


def _used_at(folder: Path) -> datetime:
    return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
