"""Which population to work with: own files, else the cache, else the publishers, else the simulated one.

Place in the flow: the demo and `habitus data` call `open_population`; `habitus data fetch` calls `fetch`.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from habitus.data.download import (
    HISTORY_FILE,
    PRODUCTION_FILE,
    DownloadFailed,
    digest_file,
    download,
    published_files,
    verify_columns,
)
from habitus.data.files import read_rows
from habitus.data.identity import Stretch
from habitus.data.settings import DataSettings
from habitus.data.simulator import simulate
from runtime.errors import HabitusError

# Enough persons for a gate of one in ten to see what a retraining after a 4 % drift gains: of eight populations of this size,
# split as the demo splits them, the gate's p-value was below .05 in all (greatest .015); of six of 9,802 persons, in four.
SIMULATED_HISTORY_ROWS, SIMULATED_HISTORY_PERSONS = 26_000, 20_000
SIMULATED_PRODUCTION_ROWS, SIMULATED_PRODUCTION_PERSONS = 3_000, 2_500
_HISTORY_SEED, _PRODUCTION_SEED = 1, 2


@dataclass(frozen=True)
class Population:
    """Rows with published column names. `history` trains; `production` are other persons, who come later.

    Simulated rows also have `person_id` and `event_timestamp`. `note` says in a sentence or two where the rows come from.
    """

    name: str
    history: pd.DataFrame
    production: pd.DataFrame
    simulated: bool
    note: str


@dataclass(frozen=True)
class Fetched:
    """What became of one file that `fetch` wanted. `problem` is empty if it is in the cache."""

    file: str
    publisher: str
    path: Path | None
    sha256: str
    problem: str


def open_population(settings: DataSettings) -> Population:
    """The population by the order of sources.

    Both files must come from one source. Raises `UnreadableFile` if a file of HABITUS_DATA or of the cache is
    missing a column or is damaged; a publisher that cannot be reached only leads to the next source, and the note says so.
    """
    if settings.data is not None:
        folder = settings.data.expanduser().absolute()
        return _from_folder("HABITUS_DATA", folder, f"The published rows in {folder}.")
    cache = settings.cache_folder
    problems = [] if _is_complete(cache) else _download_both(settings)
    if not problems:
        _verify_digests(cache)
        return _from_folder("cache", cache, f"The published rows, downloaded to {cache}.")
    return _simulated(problems)


def fetch(settings: DataSettings) -> tuple[Fetched, ...]:
    """Download what can be and is not yet in the cache; tells about each file what became of it."""
    return tuple(_fetched(settings, name) for name in (HISTORY_FILE, PRODUCTION_FILE))


def _fetched(settings: DataSettings, name: str) -> Fetched:
    cached = settings.cache_folder / name
    file = next((each for each in published_files(settings) if each.name == name), None)
    publisher = {HISTORY_FILE: "Kaggle", PRODUCTION_FILE: "UCI"}[name]
    if not cached.exists():
        if file is None:
            return Fetched(name, publisher, None, "", "needs KAGGLE_USERNAME and KAGGLE_KEY (kaggle.com, Settings, API)")
        try:
            download(file, settings.cache_folder, timeout_s=settings.data_timeout_s)
        except DownloadFailed as error:
            return Fetched(name, publisher, None, "", str(error))
    return Fetched(name, publisher, cached, _sha256(cached), "")


def _download_both(settings: DataSettings) -> list[str]:
    """What stands in the way of having both files; empty if both are in the cache now."""
    if settings.kaggle_username is None or settings.kaggle_key is None:
        return ["the history's publisher, Kaggle, asks for KAGGLE_USERNAME and KAGGLE_KEY"]
    return [each.problem for each in fetch(settings) if each.problem]


def _is_complete(folder: Path) -> bool:
    return all((folder / name).is_file() for name in (HISTORY_FILE, PRODUCTION_FILE))


def _from_folder(name: str, folder: Path, note: str) -> Population:
    history, production = (read_rows(folder / file) for file in (HISTORY_FILE, PRODUCTION_FILE))
    verify_columns(history, str(folder / HISTORY_FILE))
    verify_columns(production, str(folder / PRODUCTION_FILE))
    return Population(name, history, production, simulated=False, note=note)


def _verify_digests(folder: Path) -> None:
    for name in (HISTORY_FILE, PRODUCTION_FILE):
        path = folder / name
        recorded = digest_file(path)
        if recorded.exists() and recorded.read_text(encoding="ascii").strip() != _sha256(path):
            raise HabitusError(f"{path} is not what was downloaded", remedy=f"delete {path}, then run `habitus data fetch`")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _production(stretch: Stretch) -> pd.DataFrame:
    rows, persons = SIMULATED_PRODUCTION_ROWS, SIMULATED_PRODUCTION_PERSONS
    return simulate(rows, stretch=stretch, persons=persons, seed=_PRODUCTION_SEED, source="simulated-production")


def _simulated(problems: list[str]) -> Population:
    history = Stretch.named("history")
    return Population(
        "simulated",
        simulate(
            SIMULATED_HISTORY_ROWS, persons=SIMULATED_HISTORY_PERSONS, stretch=history, seed=_HISTORY_SEED, source="simulated"
        ),
        _production(Stretch.named("production")),
        simulated=True,
        note=(
            "SIMULATED population: no real person is in it. It is drawn from aggregate statistics of the published data, "
            f"because {'; '.join(problems)}. For the published rows set HABITUS_DATA to a folder with train.csv and current.csv."
        ),
    )
