"""Which population is opened: own files, the cache, the publishers, the simulated one; downloads against a local server."""

import base64
import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from habitus.data.columns import LEVEL, PERSON, PUBLISHED, TIME
from habitus.data.download import DownloadFailed, download, published_files
from habitus.data.files import UnreadableFile, write_rows
from habitus.data.identity import Stretch
from habitus.data.settings import DataSettings
from habitus.data.simulator import simulate
from habitus.data.sources import fetch, open_population
from runtime.errors import HabitusError

SettingsAt = Callable[..., DataSettings]
NOWHERE = "http://127.0.0.1:1/"


def published_csv(seed: int, rows: int = 20) -> bytes:
    frame = simulate(rows, stretch=Stretch.named("history"), seed=seed)[[*PUBLISHED, LEVEL]]
    return frame.to_csv(index=False).encode()


def zipped(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("_csv", ".csv"), content)
    return buffer.getvalue()


@dataclass
class Publisher:
    """A local HTTP server that plays both publishers: `answers` by the word that a path contains."""

    url: str = ""
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    authorizations: list[str | None] = field(default_factory=list)

    def answer(self, path: str) -> tuple[int, bytes]:
        """Status and body for `path`."""
        return next((answer for word, answer in self.answers.items() if word in path), (404, b""))


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    state = Publisher()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            """Answer as the test laid down."""
            state.authorizations.append(self.headers.get("Authorization"))
            status, body = state.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/"
    state.answers = {
        "static/public/544": (200, zipped(ObesityDataSet_raw_and_data_sinthetic_csv=published_csv(1))),
        "playground-series-s4e2": (200, zipped(train_csv=published_csv(2), test_csv=b"id\n1\n")),
    }
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def settings_at(tmp_path: Path) -> SettingsAt:
    def make(url: str = NOWHERE, **overrides: object) -> DataSettings:
        values = {"home": tmp_path / "home", "uci_url": url, "kaggle_url": url, "data_timeout_s": 2.0, "data": None}
        return DataSettings(**(values | {"kaggle_username": "ada", "kaggle_key": "secret"} | overrides))

    return make


def own_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.csv").write_bytes(published_csv(3, rows=30))
    (folder / "current.csv").write_bytes(published_csv(4))
    return folder


def test_own_files_come_first(tmp_path: Path, settings_at: SettingsAt, publisher: Publisher) -> None:
    population = open_population(settings_at(publisher.url, data=own_folder(tmp_path / "own")))
    assert (population.name, population.simulated, len(population.history)) == ("HABITUS_DATA", False, 30)
    assert publisher.authorizations == []


def test_own_files_are_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HABITUS_DATA", str(own_folder(tmp_path / "own")))
    monkeypatch.setenv("KAGGLE_USERNAME", "ada")
    assert open_population(DataSettings(home=tmp_path)).name == "HABITUS_DATA"
    assert DataSettings(home=tmp_path).kaggle_username == "ada"


def test_what_the_publishers_send_is_kept_and_not_asked_for_again(settings_at: SettingsAt, publisher: Publisher) -> None:
    first = open_population(settings_at(publisher.url))
    again = open_population(settings_at(NOWHERE))
    assert (first.simulated, again.simulated) == (False, False)
    assert first.history.equals(again.history)
    assert first.production.equals(again.production)
    assert len(publisher.authorizations) == 2


def test_the_cache_records_the_content_s_hash_and_notices_a_changed_file(settings_at: SettingsAt, publisher: Publisher) -> None:
    settings = settings_at(publisher.url)
    history, _ = fetch(settings)
    assert history.path is not None
    assert history.sha256 == hashlib.sha256(published_csv(2)).hexdigest()
    assert history.path.with_name("train.csv.sha256").read_text().strip() == history.sha256
    history.path.write_bytes(published_csv(9))
    with pytest.raises(HabitusError, match="is not what was downloaded") as changed:
        open_population(settings)
    assert "delete" in changed.value.remedy


def test_credentials_go_to_kaggle_alone(settings_at: SettingsAt, publisher: Publisher) -> None:
    fetch(settings_at(publisher.url))
    assert publisher.authorizations == ["Basic " + base64.b64encode(b"ada:secret").decode(), None]


def test_without_credentials_the_population_is_simulated_and_says_so(settings_at: SettingsAt) -> None:
    population = open_population(settings_at(kaggle_key=None))
    assert population.simulated
    assert population.note.startswith("SIMULATED")
    assert "KAGGLE_KEY" in population.note
    assert "HABITUS_DATA" in population.note
    assert {PERSON, TIME, LEVEL, *PUBLISHED} <= set(population.history) & set(population.production)
    assert not set(population.history[PERSON]) & set(population.production[PERSON])
    assert population.history[TIME].max() < population.production[TIME].min()


def test_publishers_that_cannot_be_reached_lead_to_the_simulated_population(settings_at: SettingsAt) -> None:
    population = open_population(settings_at(NOWHERE))
    assert population.simulated
    assert "Connection refused" in population.note


def test_fetch_tells_about_each_file_what_became_of_it(settings_at: SettingsAt, publisher: Publisher) -> None:
    history, production = fetch(settings_at(publisher.url, kaggle_username=None))
    assert "KAGGLE_USERNAME" in history.problem
    assert production.problem == ""
    assert production.path is not None


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((403, b""), "competition's rules"),
        ((500, b""), "Internal Server Error"),
        ((200, b"<html>"), "no zip archive"),
        ((200, zipped()), "no table"),
        ((200, zipped(a_csv=b"", b_csv=b"")), r"holds \['a.csv', 'b.csv'\]"),
        ((200, zipped(train_csv=b"Gender,Age\nMale,3\n")), "column Height, Weight, .* is missing"),
        ((200, zipped(train_csv=b"Gender\n")), "holds no rows"),
    ],
)
def test_a_failed_download_says_why_and_leaves_no_file(
    tmp_path: Path, settings_at: SettingsAt, publisher: Publisher, answer: tuple[int, bytes], sentence: str
) -> None:
    publisher.answers = {"competitions": answer}
    kaggle = published_files(settings_at(publisher.url))[0]
    with pytest.raises(DownloadFailed, match=sentence) as failed:
        download(kaggle, tmp_path / "cache", timeout_s=2)
    assert "HABITUS_DATA" in failed.value.remedy
    assert not list(tmp_path.glob("cache/*"))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"Gender,Age\nMale,20\n", "train.csv: column Height"), (b"", "train.csv: the file holds no rows"), (None, "no such file")],
)
def test_a_bad_file_of_one_s_own_is_an_error_not_a_reason_for_another_source(
    tmp_path: Path, settings_at: SettingsAt, content: bytes | None, sentence: str
) -> None:
    folder = own_folder(tmp_path / "own")
    if content is None:
        (folder / "train.csv").unlink()
    else:
        (folder / "train.csv").write_bytes(content)
    with pytest.raises(UnreadableFile, match=sentence):
        open_population(settings_at(data=folder))


def test_rows_of_other_formats_do_not_count_as_own_files(tmp_path: Path, settings_at: SettingsAt) -> None:
    (tmp_path / "own").mkdir()
    write_rows(simulate(5, stretch=Stretch.named("history")), tmp_path / "own" / "train.jsonl")
    with pytest.raises(UnreadableFile, match=r"train\.csv: no such file"):
        open_population(settings_at(data=tmp_path / "own"))
