"""A world for the handlers: a log, histories, an online store and a publisher in memory, which can be made to fail anywhere."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from feature_repo.offline.epochs import Plan
from feature_repo.offline.history import OffsetRange
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS, PREDICTIONS, Dataset
from feature_repo.temporal import PersonState
from runtime.clock import FixedClock
from runtime.errors import BrokenHistory, EpochSuperseded, HistoryConflict, Unavailable
from runtime.kafka import partition_for
from streams.handlers import Applied, handle_labels, handle_predictions, handle_records, recover
from streams.letters.dead_letters import DeadLetter
from streams.messages import Message, Shard
from streams.persistence import Persistence
from streams.shards import Shards
from streams.shelf import Outgoing, Shelf

RECORDS, LABELS, PREDICTED = "person.records", "person.labels", "predictions"
PARTITIONS = 4
READ_AT_ONCE = 2  # messages of the log in one part
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)
HANDLERS = {RECORDS: handle_records, LABELS: handle_labels, PREDICTED: handle_predictions}


class Killed(BaseException):
    """The process ended here."""


@dataclass
class Fate:
    """Ends the process at an effect: the n-th from now on; never if None."""

    effects_left: int | None = None

    def step(self) -> None:
        if self.effects_left is None:
            return
        if self.effects_left == 0:
            self.effects_left = None
            raise Killed
        self.effects_left -= 1


class MemoryEpochs:
    """As `Epochs`."""

    def __init__(self, fate: Fate) -> None:
        self.plans: dict[int, Plan] = {}
        self.opened = 0
        self.published = 0
        self.done = 0
        self._fate = fate
        self.logs: dict[tuple[int, str], str] = {}

    def written(self) -> int:
        return self.opened

    def current(self) -> int:
        return self.published

    def planned(self) -> Plan | None:
        return max((plan for plan in self.plans.values() if plan.epoch > self.opened), key=lambda plan: plan.epoch, default=None)

    def plan(self, plan: Plan) -> None:
        self._fate.step()
        if self.plans.setdefault(plan.epoch, plan) != plan:
            raise HistoryConflict(f"epoch {plan.epoch} is planned already")

    def plan_of(self, epoch: int) -> Plan | None:
        return self.plans.get(epoch)

    def open(self, epoch: int) -> None:
        self._fate.step()
        self.opened = max(self.opened, epoch)

    def finish(self, epoch: int) -> None:
        self._fate.step()
        self.done = max(self.done, epoch)

    def finished(self) -> int:
        return self.done

    def publish(self, epoch: int) -> None:
        self._fate.step()
        self.published = max(self.published, epoch)

    def log_of(self, epoch: int, topic: str) -> str | None:
        return self.logs.get((epoch, topic))

    def bind_log(self, epoch: int, topic: str, log_id: str) -> str:
        if (epoch, topic) not in self.logs:
            self._fate.step()
        return self.logs.setdefault((epoch, topic), log_id)


class MemoryHistory:
    """As `History`: chained, created only if absent; `files` are those of the epoch that is looked at."""

    def __init__(self, dataset: Dataset, fate: Fate) -> None:
        self.dataset = dataset
        self.epochs = MemoryEpochs(fate)
        self.by_epoch: dict[int, dict[Shard, list[tuple[OffsetRange, pa.Table, datetime]]]] = defaultdict(
            lambda: defaultdict(list)
        )
        self._epoch: int | None = None
        self._fate = fate

    def at(self, epoch: int) -> "MemoryHistory":
        if epoch == self._epoch:
            return self
        view = copy(self)
        view._epoch = epoch
        return view

    @property
    def files(self) -> dict[Shard, list[tuple[OffsetRange, pa.Table, datetime]]]:
        return self.by_epoch[self.epochs.current() if self._epoch is None else self._epoch]

    def end(self, topic: str, partition: int) -> int | None:
        files = self.files[Shard(topic, partition)]
        return files[-1][0].last if files else None

    def append(self, rows: pa.Table, offsets: OffsetRange, first_timestamp: datetime) -> None:
        self._fate.step()
        files = self.files[Shard(offsets.topic, offsets.partition)]
        if any(taken.first == offsets.first for taken, _, _ in files):
            raise HistoryConflict(f"{offsets} is taken")
        files.append((offsets, rows.cast(self.dataset.schema), first_timestamp))

    def read_after(self, topic: str, partition: int, offset: int | None = None) -> Iterator[pa.Table]:
        after = -1 if offset is None else offset
        covered = after
        for offsets, rows, _ in self.files[Shard(topic, partition)]:
            if offsets.last > after:
                if offsets.first > covered + 1:
                    raise BrokenHistory(f"the history lacks the offsets {covered + 1} to {offsets.first - 1}")
                covered = offsets.last
                yield rows.filter(pc.field("source_offset") > after)

    def accepted(self, topic: str, partition: int, first: int, last: int) -> set[int]:
        list(self.read_after(topic, partition, first - 1))  # which raises where a file is lost
        offsets = (offset for _, rows, _ in self.files[Shard(topic, partition)] for offset in rows["source_offset"].to_pylist())
        return {offset for offset in offsets if first <= offset <= last}

    def rows(self) -> list[dict[str, Any]]:
        tables = [rows for shard in sorted(self.files, key=str) for _, rows, _ in self.files[shard]]
        return [row for table in tables for row in table.to_pylist()]


class MemoryOnline:
    """As `OnlineWriter`: a state moves only to a greater (epoch, offset), a row only to a greater (epoch, event time, offset)."""

    def __init__(self, fate: Fate) -> None:
        self.persons: dict[str, tuple[PersonState, dict[str, Any]]] = {}
        self.row_epochs: dict[str, int] = {}
        self.identity = "the first server"
        self.watermarks: dict[Shard, int] = {}
        self.watermark_epochs: dict[Shard, int] = {}
        self._fate = fate
        self._epoch = 0

    def at(self, epoch: int) -> "MemoryOnline":
        if epoch == self._epoch:
            return self
        view = copy(self)
        view._epoch = epoch
        return view

    def states(self, person_ids: Iterable[str]) -> dict[str, PersonState]:
        found = {each: PersonState.decode(self.persons[each][0].encode()) for each in person_ids if each in self.persons}
        return {person_id: state for person_id, state in found.items() if state.epoch == self._epoch}

    def apply(self, rows: pa.Table, states: Mapping[str, PersonState]) -> None:
        for row in rows.to_pylist():
            self._fate.step()
            person_id = row["person_id"]
            state, newest = self.persons.get(person_id, (PersonState(), row))
            known, mine = ((self.row_epochs.get(person_id, -1), newest), (self._epoch, row))
            epoch, winner = max(known, mine, key=lambda each: (each[0], each[1]["event_timestamp"], each[1]["source_offset"]))
            self.row_epochs[person_id] = epoch
            self.persons[person_id] = (max(state, states[person_id], key=lambda each: (each.epoch, each.offset)), winner)

    def watermark(self, topic: str, partition: int) -> int | None:
        shard = Shard(topic, partition)
        marked_in = self.watermark_epochs.get(shard, 0)
        if marked_in > self._epoch:
            raise EpochSuperseded(self._epoch, marked_in)
        return self.watermarks.get(shard) if marked_in == self._epoch else None

    def server(self, topic: str, partition: int) -> str:  # noqa: ARG002  one server has them all
        return self.identity

    def advance_watermark(self, topic: str, partition: int, known: int | None, offset: int, server: str) -> bool:
        self._fate.step()
        shard = Shard(topic, partition)
        if server != self.identity:
            return False
        if self.watermark_epochs.get(shard, 0) > self._epoch or self.watermark(topic, partition) != known:
            return False
        self.watermarks[shard], self.watermark_epochs[shard] = offset, self._epoch
        return True

    def remove_older(self, epoch: int) -> int:
        self._fate.step()
        older = [person_id for person_id, written in self.row_epochs.items() if written < epoch]
        for person_id in older:
            del self.persons[person_id], self.row_epochs[person_id]
        return len(older)


@dataclass
class MemoryPublisher:
    """Remembers what was published; fails the next `failures` calls."""

    fate: Fate
    buried: list[tuple[str, DeadLetter]] = field(default_factory=list)
    labelled: list[Outgoing] = field(default_factory=list)
    published: list[Outgoing] = field(default_factory=list)
    failures: int = 0

    def dead_letters(self, topic: str, letters: Sequence[DeadLetter]) -> None:
        self._step()
        assert all(letter.key is not None or letter.value is not None for letter in letters), "no producer takes such a message"
        self.buried += [(topic, letter) for letter in letters]

    def labels(self, labels: Sequence[Outgoing]) -> None:
        self._step()
        self.labelled += labels

    def features(self, rows: Sequence[Outgoing]) -> None:
        self._step()
        self.published += rows

    def _step(self) -> None:
        self.fate.step()
        if self.failures:
            self.failures -= 1
            raise Unavailable("kafka", "it is away")

    def reasons(self) -> list[dict[str, str]]:
        return [{name: value.decode() for name, value in letter.headers} for _, letter in self.buried]

    def published_offsets(self) -> list[tuple[int, int]]:
        rows = (json.loads(each.value) for each in self.published)
        return [(row["source_partition"], row["source_offset"]) for row in rows]


class World:
    """Everything around a worker, and the worker: `deliver` hands messages to it, `restart` forgets what it knew."""

    killed = Killed

    def __init__(self) -> None:
        self.fate = Fate()
        self.log: dict[Shard, list[Message]] = defaultdict(list)
        self.log_ids: dict[str, str] = {}
        self.acknowledged_offsets: dict[Shard, int] = {}
        self.features = MemoryHistory(PERSON_FEATURES, self.fate)
        self.labels = MemoryHistory(PERSON_LABELS, self.fate)
        self.predictions = MemoryHistory(PREDICTIONS, self.fate)
        self.online = MemoryOnline(self.fate)
        self.publisher = MemoryPublisher(self.fate)
        self.pauses_s: list[float] = []
        self.shelf = Shelf(
            features=self.features,
            labels=self.labels,
            predictions=self.predictions,
            online=self.online,
            publisher=self.publisher,
            source=self,
            partitions=dict.fromkeys(HANDLERS, PARTITIONS),
            clock=FixedClock(NOON),
            app_version="1.2.3",
            persistence=Persistence(3, self.pauses_s.append),
        )
        self.restart()

    def restart(self) -> None:
        histories = {RECORDS: self.features, LABELS: self.labels, PREDICTED: self.predictions}
        self.shards = {topic: Shards(history, self) for topic, history in histories.items()}

    def end(self, shard: Shard) -> int:
        return self.log[shard][-1].offset + 1 if self.log[shard] else 0

    def read(self, shard: Shard, first: int, end: int) -> Iterator[list[Message]]:
        found = [each for each in self.log[shard] if first <= each.offset < end]
        return (found[start : start + READ_AT_ONCE] for start in range(0, len(found), READ_AT_ONCE))

    def acknowledged(self, shard: Shard) -> int | None:
        return self.acknowledged_offsets.get(shard)

    def log_id(self, topic: str) -> str:
        return self.log_ids.get(topic, "the first")

    def send(self, value: object, topic: str = RECORDS, **place: Any) -> Message:
        """Append a message to the log: bytes as they are, anything else as JSON, keyed and placed by its person_id."""
        fields = value if isinstance(value, Mapping) else {}
        key = place.pop("key", str(fields.get("person_id", "p")).encode())
        shard = Shard(topic, place.pop("partition", partition_for(key or b"", PARTITIONS)))
        written = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        offset = place.pop("offset", self.log[shard][-1].offset + 1 if self.log[shard] else 0)
        message = Message(shard, offset, place.pop("timestamp_ms", NOON_MS), key, written, place.pop("headers", ()))
        self.log[shard].append(message)
        return message

    def deliver(self, *messages: Message) -> Applied:
        """Hand `messages` of one topic to the worker; if its handler returns, they are acknowledged."""
        topic = messages[0].shard.topic
        applied = HANDLERS[topic](messages, self.shelf, self.shards[topic])
        for each in messages:
            self.acknowledged_offsets[each.shard] = max(each.offset, self.acknowledged_offsets.get(each.shard, -1))
        return applied

    def recover(self, *shards: Shard) -> None:
        recover(shards, self.shelf, self.shards[RECORDS])

    def rejection(self, message: Message) -> dict[str, str]:
        """The headers of the only dead letter that delivering `message` makes."""
        applied = self.deliver(message)
        assert (applied.accepted, applied.rejected) == (0, 1)
        assert self.publisher.buried[-1][1].value == message.value
        return self.publisher.reasons()[-1]


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def new_world() -> Callable[[], World]:
    """For property tests: a world an example."""
    return World


@pytest.fixture(scope="session")
def person() -> Callable[..., dict[str, Any]]:
    """A function that makes the fields of a valid record; keywords override, `...` leaves a field out."""

    def make(**overrides: Any) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "person_id": "ann",
            "event_timestamp": "2024-05-01T10:00:00Z",
            "gender": "Female",
            "age_years": 31,
            "height_m": 1.68,
            "weight_kg": 61.5,
            "physical_activity_frequency": 1.5,
            "smokes": False,
        }
        return {name: value for name, value in (fields | overrides).items() if value is not ...}

    return make


@pytest.fixture(scope="session")
def prediction() -> dict[str, Any]:
    """The fields of a valid entry of the prediction log."""
    return {
        "request_id": "r1",
        "person_id": "ann",
        "model_name": "obesity-level",
        "model_version": "3",
        "model_alias": "champion",
        "obesity_level": "Normal_Weight",
        "probabilities": {"Normal_Weight": 0.9, "Overweight_Level_I": 0.1},
        "features": {"bmi": 21.8, "smokes": False},
        "event_timestamp": "2024-05-01T10:00:00Z",
        "feature_topic": RECORDS,
        "feature_partition": 0,
        "feature_offset": 7,
        "served_at": "2024-05-01T11:00:00Z",
    }
