"""What is left when all records of a scene were handled, and what an undisturbed run of the same records leaves.

`undisturbed` computes from the raw log with the pure functions alone; `found` reads the stores. The two are equal, bit for bit.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from itertools import islice
from typing import Any

import pyarrow as pa
from redis import Redis

from feature_repo.features import FEATURE_NAMES
from feature_repo.labels import parse_label
from feature_repo.materialise import event_time
from feature_repo.offline.history import open_history
from feature_repo.online import layout
from feature_repo.online.reader import ClientSource, OnlineReader, connect_async
from feature_repo.online.rows import OnlineWriter, connect
from feature_repo.schemas import PERSON_FEATURES, PERSON_LABELS
from feature_repo.temporal import PersonState, to_us
from feature_repo.wire import encode_row
from runtime.errors import RecordRejected
from runtime.topics import Topics
from streams.adapters.dead_letters import read_dead_letters
from streams.materialisation import Materialised, materialise_messages
from streams.messages import Message, Shard, by_shard
from streams.settings import StreamsSettings
from tests.scene import consumer_of

Place = tuple[int, int]  # partition, offset
SHOWN = 3
_POLL_MS = 1000
_READ_AT_ONCE = 1000


@dataclass
class EndState:
    """What must not depend on cuts, kills and restarts; what may come twice, as a dead letter may, counts by its source."""

    rows: dict[Place, bytes] = field(default_factory=dict)  # the history's, by place, their bits
    online: dict[str, tuple[Place, bytes]] = field(default_factory=dict)  # by person: the record behind the row, its bits
    states: dict[str, PersonState] = field(default_factory=dict)
    watermarks: dict[int, int] = field(default_factory=dict)
    dead: dict[Place, str] = field(default_factory=dict)  # the class of each dead letter
    published: dict[Place, set[bytes]] = field(
        default_factory=lambda: defaultdict(set)
    )  # what person.features says of each place
    labels: set[tuple[str, Any, str]] = field(default_factory=set)
    dead_labels: set[bytes] = field(default_factory=set)


def undisturbed(settings: StreamsSettings) -> EndState:
    """What one pass over the raw log gives."""
    expected = EndState()
    best: dict[str, tuple[Any, Place]] = {}
    for messages in read(settings, Topics(settings).records.name):
        for batch in by_shard(messages):
            made = materialise_messages(batch.messages, settings.partitions, lambda _: expected.states)
            _expect_rows(made, expected, best)
            expected.states |= made.states
            expected.watermarks[batch.shard.partition] = batch.last
            expected.dead |= {_place(each.message): each.error.error_class for each in made.rejected}
            _expect_labels(made, expected)
    return expected


def found(settings: StreamsSettings) -> EndState:
    """What the stores and topics hold."""
    topics = Topics(settings)
    left = EndState()
    history = open_history(settings, PERSON_FEATURES).scan()
    left.rows = dict(_by_place(history))
    assert len(left.rows) == history.num_rows, "a record is in the history twice"
    _find_online(settings, left)
    left.dead = {
        (each.source.partition, each.source_offset): each.error_class for each in read_dead_letters(settings, topics.records.name)
    }
    for messages in read(settings, topics.features.name):
        for message in messages:
            told = json.loads(message.value or b"")
            left.published[told["source_partition"], told["source_offset"]].add(_digest(message.value or b""))
    labels = open_history(settings, PERSON_LABELS).scan().to_pylist()
    left.labels = {(each["person_id"], each["event_timestamp"], each["obesity_level"]) for each in labels}
    left.dead_labels = {each.value or b"" for each in read_dead_letters(settings, topics.labels.name)}
    return left


def differences(expected: EndState, left: EndState) -> list[str]:
    """A sentence for each part that differs, with some examples."""
    return [
        told
        for part in fields(EndState)
        if (told := _differ(part.name, *(getattr(each, part.name) for each in (expected, left))))
    ]


def read(settings: StreamsSettings, topic: str) -> Iterator[list[Message]]:
    """Every message that `topic` holds now, in parts, in order within a partition."""
    with consumer_of(settings, topic) as reader:
        ends = reader.end_offsets(list(reader.assignment()))
        while any(reader.position(place) < end for place, end in ends.items()):
            for messages in reader.poll(timeout_ms=_POLL_MS).values():
                yield [_message(each) for each in messages]


def _message(each: Any) -> Message:
    return Message(Shard(each.topic, each.partition), each.offset, each.timestamp, each.key, each.value, tuple(each.headers))


def _place(message: Message) -> Place:
    return message.shard.partition, message.offset


def _expect_rows(made: Materialised, expected: EndState, best: dict[str, tuple[Any, Place]]) -> None:
    for row, (place, bits) in zip(made.rows.to_pylist(), _by_place(made.rows), strict=True):
        expected.rows[place] = bits
        expected.published[place] = {_digest(encode_row(row))}
        rank = (row["event_timestamp"], place)
        if rank >= best.get(row["person_id"], rank):
            best[row["person_id"]] = rank
            expected.online[row["person_id"]] = (
                place,
                _bits([to_us(row["event_timestamp"]), *(row[name] for name in FEATURE_NAMES)]),
            )


def _expect_labels(made: Materialised, expected: EndState) -> None:
    for each in made.accepted:
        if each.content.level is None:
            continue
        record = each.content.located.record
        fields = {
            "person_id": record.person_id,
            "event_timestamp": event_time(record).isoformat(),
            "obesity_level": each.content.level,
        }
        try:
            label = parse_label(fields, each.message.time)
        except RecordRejected:
            expected.dead_labels.add(json.dumps(fields).encode())
        else:
            expected.labels.add((label.person_id, label.event_timestamp, label.obesity_level))


def _by_place(rows: pa.Table) -> Iterator[tuple[Place, bytes]]:
    names = PERSON_FEATURES.schema.names
    columns = [_exact(rows[name]).to_pylist() for name in names]
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        yield (row["source_partition"], row["source_offset"]), _bits(values)


def _exact(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column whose values tell every bit: a float as its bits, of which -0.0 and 0.0 have different ones."""
    if not pa.types.is_floating(column.type):
        return column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column
    return pa.chunked_array([chunk.view(pa.int64()) for chunk in column.chunks], pa.int64())


def _bits(values: Sequence[Any]) -> bytes:
    return _digest(repr(list(values)).encode())


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


def _find_online(settings: StreamsSettings, left: EndState) -> None:
    for person_id, row in asyncio.run(_online_rows(settings)).items():
        values = [to_us(row.event_timestamp), *(row.values[name] for name in FEATURE_NAMES)]
        left.online[person_id] = ((row.source_partition, row.source_offset), _bits(values))
        left.states[person_id] = row.state
    with connect(settings) as client:
        writer = OnlineWriter(client, settings.project)
        for partition in range(settings.partitions):
            watermark = writer.watermark(Topics(settings).records.name, partition)
            left.watermarks |= {} if watermark is None else {partition: watermark}


async def _online_rows(settings: StreamsSettings) -> dict[str, Any]:
    persons = iter(_online_persons(settings))
    client = connect_async(settings)
    reader = OnlineReader(ClientSource(client), settings.project)
    rows: dict[str, Any] = {}
    try:
        while part := list(islice(persons, _READ_AT_ONCE)):
            rows |= dict(zip(part, await reader.read(part, FEATURE_NAMES, with_state=True), strict=True))
    finally:
        await client.aclose()
    return rows


def _online_persons(settings: StreamsSettings) -> list[str]:
    with Redis.from_url(settings.redis_url.get_secret_value()) as client:
        persons = (layout.decode_entity_key(key, settings.project) for key in client.scan_iter(f"*{settings.project}", 1000))
        return sorted({each for each in persons if each is not None})


def _differ(part: str, expected: Any, left: Any) -> str:
    if expected == left:
        return ""
    if isinstance(expected, Mapping):
        lacking, more = expected.keys() - left.keys(), left.keys() - expected.keys()
        other = [each for each in expected.keys() & left.keys() if expected[each] != left[each]]
    else:
        lacking, more, other = expected - left, left - expected, []
    shown = {"lacking": lacking, "too many": more, "other": other}
    return f"{part}: " + "; ".join(f"{name} {len(each)}, as {list(islice(each, SHOWN))}" for name, each in shown.items() if each)
