"""Files on object storage when requests go wrong, and the readers of a history that lies there."""

import http.client
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pyarrow as pa
import pytest

from feature_repo.offline.files import Files, open_files
from feature_repo.offline.history import History, OffsetRange
from feature_repo.schemas import PERSON_LABELS
from feature_repo.views import define
from monitor.adapters.history import OfflineHistory
from runtime.errors import HistoryConflict, InfrastructureError
from runtime.settings import Settings
from tests.object_storage import BUCKET, object_storage

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
CLIENTS_TRIES = 3


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    with object_storage() as uri:
        yield uri


@pytest.fixture
def place(bucket: str, tmp_path: Path) -> str:
    """A prefix of the test's own."""
    return f"{bucket}/{tmp_path.name}"


class Wire(BaseHTTPRequestHandler):
    """Passes requests on to the storage and its answers back; loses the answer to a PUT while `losing`."""

    protocol_version = "HTTP/1.1"
    storage: ClassVar[str] = ""
    losing: ClassVar[int] = 0
    lost: ClassVar[int] = 0

    def do_GET(self) -> None:
        self._pass()

    def do_HEAD(self) -> None:
        self._pass()

    def do_PUT(self) -> None:
        self._pass()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _pass(self) -> None:
        storage = http.client.HTTPConnection(self.storage)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        storage.request(self.command, self.path, body, dict(self.headers.items()))
        answer = storage.getresponse()
        content = answer.read()
        storage.close()
        if self.command == "PUT" and Wire.losing:
            Wire.losing -= 1
            Wire.lost += 1
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in {"transfer-encoding", "connection", "date", "server"}:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture
def lossy(place: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Files]:
    """The storage behind a `Wire`."""
    Wire.storage, Wire.losing, Wire.lost = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc, 0, 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Wire)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    yield open_files(place)
    server.shutdown()
    server.server_close()


def labels(*offsets: int) -> pa.Table:
    rows = [
        {
            "person_id": "ann", "event_timestamp": NOON, "obesity_level": "Normal_Weight", "source_topic": "labels",
            "ingested_at": NOON + timedelta(minutes=offset), "source_partition": 0, "source_offset": offset,
        }
        for offset in offsets
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=PERSON_LABELS.schema)


@pytest.mark.parametrize("lost", [1, CLIENTS_TRIES + 1], ids=["the client tries again", "we try again"])
def test_an_append_whose_answer_is_lost_is_no_conflict_with_itself(lossy: Files, place: str, lost: int) -> None:
    """Promise: the object is there and nobody heard of it; the next try knows it for its own, another writer does not."""
    history, offsets = History(lossy, PERSON_LABELS).at(0), OffsetRange("labels", 0, 0, 4)
    Wire.losing = lost
    failure = pytest.raises(InfrastructureError, match="object storage") if lost > CLIENTS_TRIES else nullcontext()
    with failure:
        history.append(labels(1), offsets, NOON)
    assert Wire.lost == lost
    history.append(labels(1), offsets, NOON)
    with pytest.raises(HistoryConflict):
        History(open_files(place), PERSON_LABELS).append(labels(1), offsets, NOON)
    assert (history.end("labels", 0), history.scan().num_rows) == (4, 1)


def test_an_upload_that_breaks_off_is_never_visible(place: str) -> None:
    address = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    name = "person_labels/dt=2024-05-01/labels-0-00000000000000000000.parquet"
    head = f"PUT /{BUCKET}/{place.rpartition('/')[2]}/{name} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 1000\r\n"
    with socket.create_connection((str(address.hostname), address.port or 80)) as upload:
        upload.sendall(f"{head}If-None-Match: *\r\n\r\n".encode() + b"PAR1" * 100)
    history = History(open_files(place), PERSON_LABELS)
    assert (history.end("labels", 0), history.scan().num_rows) == (None, 0)
    history.append(labels(0), OffsetRange("labels", 0, 0, 4), NOON)
    assert history.scan().num_rows == 1


def test_a_bucket_that_is_not_there_is_named_with_what_to_do(bucket: str) -> None:
    nowhere = open_files(f"{bucket}-not/x")
    for attempt in (lambda: nowhere.create("a", b""), lambda: nowhere.names("a")):
        with pytest.raises(InfrastructureError, match="habitus-tests-not") as told:
            attempt()
        assert "AWS_ENDPOINT_URL" in told.value.remedy
        assert told.value.__cause__ is None or "not-a-secret" not in repr(told.value.__cause__)


def test_refused_access_is_told_and_shows_no_token(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Promise: S3 shows the signed request, session token included, when it refuses one; we do not pass that on."""

    class Refusing(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            token = self.headers["x-amz-security-token"]
            body = f"<Error><Code>SignatureDoesNotMatch</Code><CanonicalRequest>{token}</CanonicalRequest></Error>".encode()
            self.send_response(403)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "opensesame")
    with pytest.raises(InfrastructureError, match=r"access was refused \(SignatureDoesNotMatch\)") as told:
        open_files(place).create("a", b"")
    server.shutdown()
    server.server_close()
    seen = json.dumps([repr(each) for each in (told.value, told.value.__cause__)])
    assert "opensesame" not in seen
    assert told.value.__suppress_context__


def test_the_monitor_reads_a_history_in_a_bucket_and_of_a_corrected_label_the_last(place: str) -> None:
    History(open_files(place), PERSON_LABELS).append(labels(0, 1), OffsetRange("labels", 0, 0, 1), NOON)
    history = OfflineHistory(open_files(place))
    assert history.labels()["source_offset"].tolist() == [1]
    assert len(history.labelled_predictions()) == 0


def test_feasts_source_names_the_bucket_and_the_current_epoch(place: str, settings_for: Callable[..., Any]) -> None:
    settings = settings_for(Settings, offline_uri=f"{place}/")
    assert define(settings).source.path == f"{place}/person_features/dt=*/*.parquet"
    History(open_files(settings.offline), PERSON_LABELS).epochs.publish(1)  # another dataset's
    assert define(settings).source.path == f"{place}/person_features/dt=*/*.parquet"
