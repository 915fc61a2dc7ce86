"""What survives a restart, what a row must look like, and which champion is compared with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.person import ATTRIBUTES
from feature_repo.wire import encode_row
from monitor.adapters.champions import Champions
from monitor.champion import Champion
from monitor.progress import Progress
from monitor.rows import parse_row
from monitor.window import Window
from runtime.errors import ModelRefused, RecordRejected, Unavailable
from runtime.registry import ModelVersion

SEEN = st.dictionaries(st.text(min_size=1), st.integers(0, 2**62), max_size=5)
PROGRESS = st.builds(Progress, st.integers(1, 99).map(str), st.integers(0, 9), SEEN)


@given(PROGRESS)
def test_progress_survives_being_stored(progress: Progress) -> None:
    assert Progress.decode(progress.encode()) == progress


def test_nothing_stored_is_the_beginning() -> None:
    assert Progress.decode("") == Progress.joined([]) == Progress()


@given(st.lists(PROGRESS, min_size=1, max_size=4))
def test_progress_of_several_partitions_forgets_no_offset(parts: list[Progress]) -> None:
    joined = Progress.joined(parts)
    assert all(joined.seen[source] >= offset for part in parts for source, offset in part.seen.items())


def test_another_champion_ends_the_quiet_time() -> None:
    quiet = Progress("1", quiet_windows=3)
    assert quiet.under("1") == quiet
    assert quiet.under("2") == Progress("2", quiet_windows=0)


def row() -> dict[str, object]:
    attributes: dict[str, object] = dict.fromkeys(ATTRIBUTES)
    moment = datetime(2025, 1, 1, tzinfo=UTC)
    origin = {"source_topic": "person.records", "source_partition": 2, "source_offset": 7}
    return attributes | origin | {"person_id": "ada", "event_timestamp": moment, "gender": "Female", "weight_kg": 60.5}


def test_a_row_is_read_as_the_stream_writes_it() -> None:
    parsed = parse_row(encode_row(row()))
    assert (parsed.person_id, parsed.source, parsed.source_offset) == ("ada", "person.records-2", 7)
    assert parsed.event_timestamp == datetime(2025, 1, 1, tzinfo=UTC)
    assert parsed.attributes["weight_kg"] == 60.5
    assert parsed.attributes["smokes"] is None


@pytest.mark.parametrize(
    "value", [b"", b"null", b"[]", b"not json", b'{"person_id": "ada"}', b'{"person_id": 1, "event_timestamp": 3}']
)
def test_what_is_no_row_is_rejected(value: bytes) -> None:
    with pytest.raises(RecordRejected):
        parse_row(value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("person_id", 1),
        ("person_id", None),
        ("person_id", ["ada"]),
        ("event_timestamp", 3),
        ("event_timestamp", "yesterday"),
        ("event_timestamp", "2025-01-01T00:00:00"),
        ("event_timestamp", "0001-01-01T00:00:00+05:00"),
        ("source_topic", None),
        ("source_partition", "2"),
        ("source_offset", "7"),
        ("source_offset", True),
        ("weight_kg", "heavy"),
        ("weight_kg", True),
        ("weight_kg", {}),
        ("gender", 2),
        ("transport", ["Bike"]),
        ("smokes", "yes"),
    ],
)
def test_a_row_with_one_wrong_field_is_rejected_by_its_name(field: str, value: object) -> None:
    """Promise: no later step meets a person that cannot be hashed, a time that cannot be compared or a word for a number."""
    with pytest.raises(RecordRejected) as caught:
        parse_row(encode_row(row() | {field: value}))
    assert caught.value.failed_fields == (field,)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=3,
)


@given(st.dictionaries(st.sampled_from(sorted(row())), ANYTHING))
def test_whatever_a_row_holds_it_is_counted_or_rejected(champion: Champion, changes: dict[str, object]) -> None:
    """Promise: nothing that arrives on the topic stops the monitor."""
    try:
        parsed = parse_row(encode_row(row() | changes))
    except RecordRejected:
        return
    assert parsed.event_timestamp > datetime.min.replace(tzinfo=UTC)
    Progress().after(parsed).encode()
    window = Window(champion.reference, 10)
    window.add(parsed)
    window.counts()


@dataclass
class FakeRegistry:
    """Hands out one champion's files."""

    files: Path
    version: str | None = "1"
    name: str = "obesity-level"
    downloads: list[str] = field(default_factory=list)

    def by_alias(self, alias: str) -> ModelVersion | None:
        assert alias == "champion"
        if self.version is None:
            return None
        return ModelVersion(self.name, self.version, "", "", datetime.now(UTC), (), {})

    def download(self, version: ModelVersion, folder: Path) -> Path:
        self.downloads.append(version.version)
        (folder / "reference").mkdir(parents=True)
        for file in self.files.iterdir():
            (folder / "reference" / file.name).write_bytes(file.read_bytes())
        return folder


@pytest.fixture
def champions(champion: Champion) -> Iterator[Callable[..., Champions]]:
    """A function that makes `Champions` over a registry; all are closed afterwards."""
    with ExitStack() as opened:
        yield lambda registry=None, **changes: opened.enter_context(
            closing(Champions(registry or FakeRegistry(**({"files": champion.folder} | changes))))
        )


def test_the_champion_is_downloaded_once_a_version(champion: Champion, champions: Callable[..., Champions]) -> None:
    registry = FakeRegistry(champion.folder)
    ours = champions(registry)
    assert ours.current() is ours.current()
    registry.version = "2"
    assert ours.current().version == "2"
    assert registry.downloads == ["1", "2"]
    assert ours.current().reference == champion.reference


def test_without_a_champion_there_is_something_to_wait_for(champions: Callable[..., Champions]) -> None:
    assert champions(version=None).find() is None
    with pytest.raises(Unavailable, match="habitus train"):
        champions(version=None).current()


def test_a_champion_without_a_reference_is_waited_for_too(champions: Callable[..., Champions], tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        champions(files=tmp_path).find()
    with pytest.raises(Unavailable, match="no reference"):
        champions(files=tmp_path).current()
