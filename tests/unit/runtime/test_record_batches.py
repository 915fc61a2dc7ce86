"""What a Kafka client cannot read by itself is read all the same, by either client."""

from typing import Any

import aiokafka.consumer.fetcher
import kafka.consumer.fetcher
import pytest
from aiokafka.errors import KafkaError as AioKafkaError
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.errors import KafkaError

from runtime.record_batches import Batches, _as_varint, _varint, tolerate
from tests.batches import CODECS, Headers, compressed, packed, sealed


class Client:
    """As a client's module; ours to change."""

    def __init__(self, fetcher: Any) -> None:
        self.MemoryRecords = fetcher.__dict__.get("_strict", fetcher.MemoryRecords)
        if issubclass(self.MemoryRecords, Batches):
            self.MemoryRecords = self.MemoryRecords.strict


@pytest.fixture(scope="module", params=[aiokafka.consumer.fetcher, kafka.consumer.fetcher], ids=["aiokafka", "kafka-python"])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def plain(*headers: Headers, first: int = 0) -> bytes:
    """A batch of one record per argument."""
    return packed([(b"k", b"v" * 300, 1000 + n, each) for n, each in enumerate(headers)], first)


def read(client: Client, data: bytes) -> list[Any]:
    tolerate(client)
    batches, found = client.MemoryRecords(data), []
    while batches.has_next():
        batch = batches.next_batch()
        assert batch.validate_crc()
        found += list(batch)
    assert batches.next_batch() is None
    return found


@pytest.mark.parametrize("codec", CODECS)
def test_a_producer_may_use_any_codec_and_any_header(client: Client, codec: str) -> None:
    batch = compressed(plain([(b"a\xff", b"1"), (b"plain", None)], [], first=40), codec)
    records = read(client, batch + batch)
    assert [each.offset for each in records] == [40, 41, 40, 41]
    assert [(each.key, each.value, each.timestamp) for each in records[:2]] == [
        (b"k", b"v" * 300, 1000),
        (b"k", b"v" * 300, 1001),
    ]
    assert list(records[0].headers) == [("a\\xff", b"1"), ("plain", None)]
    assert list(records[1].headers) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.binary(max_size=200), st.none() | st.binary(max_size=9)), max_size=4), min_size=1, max_size=4)
)
def test_every_name_reads_as_it_is_or_with_backslashes(client: Client, headers: list[Headers]) -> None:
    expected = [[(name.decode(errors="backslashreplace"), value) for name, value in each] for each in headers]
    assert [list(each.headers) for each in read(client, plain(*headers))] == expected


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_corrupt_batch_raises_and_yields_nothing(client: Client, data: st.DataObject) -> None:
    """Promise: what is no foreign header and no codec is never read as something else."""
    tolerate(client)
    batch = bytearray(plain([(b"a\xff", b"1")], [(b"b", b"2")]))
    cut = data.draw(st.integers(1, len(batch) - 62))
    with pytest.raises((ValueError, IndexError, KafkaError, AioKafkaError)):
        list(client.MemoryRecords(sealed(batch[:-cut])).next_batch())


def test_bytes_after_the_last_header_are_not_dropped_but_refused(client: Client) -> None:
    tolerate(client)
    batch = plain([(b"a\xff", b"1")])
    length, at = _varint(batch, 61)
    padded = batch[:61] + _as_varint(length + 1) + batch[at:] + b"\x00"
    with pytest.raises((ValueError, KafkaError, AioKafkaError)):
        list(client.MemoryRecords(sealed(padded)).next_batch())


def test_a_batch_that_the_client_reads_itself_is_left_to_it(client: Client) -> None:
    tolerate(client)
    strict = client.MemoryRecords.strict
    batch = plain([(b"a", b"1")])
    ours, own = client.MemoryRecords(batch).next_batch(), strict(batch).next_batch()
    assert [type(each) for each in ours] == [type(each) for each in own]
    assert (ours.next_offset, ours.is_control_batch, ours.magic) == (own.next_offset, own.is_control_batch, own.magic)


def test_a_batch_cut_off_at_the_end_of_an_answer_waits_for_the_next(client: Client) -> None:
    whole = plain([(b"a", b"1")])
    assert len(read(client, whole + whole[:-1])) == 1
    assert client.MemoryRecords(whole[:5]).size_in_bytes() == 5


def test_tolerating_twice_is_tolerating_once(client: Client) -> None:
    tolerate(client)
    first = client.MemoryRecords
    tolerate(client)
    assert client.MemoryRecords is first


def test_aiokafka_itself_would_stop_at_such_a_header() -> None:
    """Why all this: the day this fails, the module can go."""
    batch = plain([(b"a\xff", b"1")])
    strict = Client(aiokafka.consumer.fetcher).MemoryRecords
    with pytest.raises(UnicodeDecodeError):
        list(strict(batch).next_batch())
