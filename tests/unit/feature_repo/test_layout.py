"""Our bytes are Feast's bytes: keys, fields, values and times as Feast itself writes them."""

import struct
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from feast.infra.key_encoding_utils import serialize_entity_key
from feast.infra.online_stores.helpers import _mmh3, _redis_key
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.features import FEATURES
from feature_repo.online import layout

PERSON_IDS = st.text("abcXYZ019_.:-", min_size=1, max_size=64)
VALUES = {
    "float": st.floats(allow_nan=False),
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "category": st.text(max_size=300),
}
FEAST_FIELDS = {"float": "double_val", "int": "int64_val", "bool": "bool_val", "category": "string_val"}
ONE_OF_EACH = {feature.dtype: feature.name for feature in FEATURES}


@given(PERSON_IDS)
def test_a_key_is_feasts_key(person_id: str) -> None:
    entity = EntityKey(join_keys=["person_id"], entity_values=[Value(string_val=person_id)])
    assert layout.entity_key(person_id, "habitus") == _redis_key("habitus", entity, entity_key_serialization_version=3)
    assert layout.entity_key(person_id, "") == serialize_entity_key(entity, entity_key_serialization_version=3)


@given(PERSON_IDS, st.text("abc", min_size=1), st.text("abc", min_size=1))
def test_a_key_tells_its_person_to_its_own_project_alone(person_id: str, project: str, other: str) -> None:
    key = layout.entity_key(person_id, project)
    assert layout.decode_entity_key(key, project) == person_id
    assert layout.decode_entity_key(key, other) == (person_id if other == project else None)
    assert layout.decode_entity_key(person_id.encode(), project) is None
    torn = layout.entity_key("xx", project).replace(b"xx", b"\xff\xfe")
    assert layout.decode_entity_key(torn, project) is None


KEY_VALUES = st.one_of(
    st.builds(Value, string_val=st.text(max_size=9)),
    st.builds(Value, int64_val=st.integers(-(2**63), 2**63 - 1)),
    st.builds(Value, bytes_val=st.binary(max_size=9)),
)


@given(st.lists(KEY_VALUES, max_size=3), st.binary(min_size=1, max_size=12))
def test_an_entity_key_is_told_from_one_with_more_behind_it(values: list[Value], more: bytes) -> None:
    """Promise: the keys of project `b` are not those of project `ab`, whatever the join keys' types."""
    entity = EntityKey(join_keys=[f"key{number}" for number in range(len(values))], entity_values=values)
    key = serialize_entity_key(entity, entity_key_serialization_version=3)
    assert layout.is_entity_key(key)
    assert not layout.is_entity_key(key + more)
    assert not layout.is_entity_key(key[:-1])


def test_fields_are_feasts_hashes() -> None:
    assert {name: layout.field_of(name) for name in layout.FIELDS} == {
        name: _mmh3(f"{layout.VIEW}:{name}") for name in layout.FIELDS
    }
    assert len(set(layout.FIELDS.values())) == len(FEATURES)


@pytest.mark.parametrize("dtype", VALUES)
@given(data=st.data())
def test_a_value_is_feasts_value_and_reads_back(dtype: str, data: st.DataObject) -> None:
    value = data.draw(VALUES[dtype])
    encoded = layout.encode_value(ONE_OF_EACH[dtype], value)
    assert encoded == Value(**{FEAST_FIELDS[dtype]: value}).SerializeToString()
    assert layout.decode_value(encoded) == value


@pytest.mark.parametrize("dtype", VALUES)
def test_null_is_the_empty_value(dtype: str) -> None:
    assert layout.encode_value(ONE_OF_EACH[dtype], None) == Value().SerializeToString() == b""
    assert layout.decode_value(b"") is layout.decode_value(None) is None


def test_a_value_of_another_type_is_refused() -> None:
    with pytest.raises(ValueError, match="none of ours"):
        layout.decode_value(Value(int32_val=7).SerializeToString())


@given(st.datetimes(datetime(1900, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  hypothesis asks for naive bounds
def test_a_time_reads_back(moment: datetime) -> None:
    feasts = Timestamp()
    feasts.FromDatetime(moment)
    assert layout.encode_timestamp(moment) == feasts.SerializeToString()
    assert layout.decode_timestamp(layout.encode_timestamp(moment)) == moment


@given(st.data(), st.integers(1, 4))
def test_rows_encoded_by_columns_are_their_values_one_by_one(data: st.DataObject, number: int) -> None:
    rows = [
        {f.name: data.draw(st.none() | VALUES[f.dtype]) if f.name in ONE_OF_EACH.values() else None for f in FEATURES}
        for _ in range(number)
    ]
    types = {"float": pa.float64(), "int": pa.int64(), "bool": pa.bool_(), "category": pa.string()}
    table = pa.table({f.name: pa.array([row[f.name] for row in rows], types[f.dtype]) for f in FEATURES})
    one_by_one = [b"".join(layout.framed(layout.encode_value(f.name, row[f.name])) for f in FEATURES) for row in rows]
    assert layout.encode_rows(table) == one_by_one


RANKS = st.tuples(st.integers(0, 2**32 - 1), st.integers(-(2**61), 2**61), st.integers(0, 2**63 - 1))


@given(RANKS, RANKS)
def test_origins_compare_as_epoch_event_time_and_offset_do(one: Any, other: Any) -> None:
    """Promise: Redis compares text and decides as we would with numbers, times before 1970 included."""
    texts = [layout.RowOrigin(*each, partition=3, topic="a:b.c").encode()[: layout.RANK_LENGTH] for each in (one, other)]
    assert (texts[0] < texts[1], texts[0] == texts[1]) == (one < other, one == other)


@given(RANKS)
def test_an_origin_reads_back(rank: Any) -> None:
    origin = layout.RowOrigin(*rank, partition=3, topic="a:b.c")
    assert layout.RowOrigin.decode(origin.encode(), origin.event_us) == origin


@given(RANKS)
def test_a_row_that_feast_wrote_has_no_origin_and_ranks_below_any_record_of_its_time(rank: Any) -> None:
    """Promise: a record takes over what Feast materialised of it; what a stranger wrote over our row is not taken for ours."""
    origin = layout.RowOrigin(*rank, partition=3, topic="a")
    feasts = layout.feast_rank(origin.epoch, origin.event_us)
    assert len(feasts) == layout.RANK_LENGTH
    assert feasts.encode() < origin.encode()
    assert layout.RowOrigin.decode(f"{feasts}:-1:".encode(), origin.event_us) is None
    assert layout.RowOrigin.decode(origin.encode(), origin.event_us + 1) is None
    assert layout.RowOrigin.decode(None, 0) is None


@given(st.tuples(st.integers(0, 9), st.integers(0, 2**63 - 1)), st.tuples(st.integers(0, 9), st.integers(0, 2**63 - 1)))
def test_positions_compare_as_epoch_and_offset_do(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (layout.Position(*one).encode() < layout.Position(*other).encode()) == (one < other)
    assert layout.Position.decode(layout.Position(*one).encode()) == layout.Position(*one)
    assert layout.Position(*one).encode().startswith(layout.encode_epoch(one[0]))


def test_a_torn_text_value_is_refused() -> None:
    with pytest.raises(ValueError, match="torn"):
        layout.decode_value(struct.pack("<BB", 0x12, 0x80))
