"""Promises about which ports a stack gets."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from habitus.stack.ports import choose, is_free, is_listened_on_by, with_children
from runtime.errors import HabitusError

USUAL = {"kafka": 9092, "redis": 6379, "mlflow": 5000}


def everything_is_free(_port: int) -> bool:
    return True


def test_the_usual_ports_are_taken_first() -> None:
    assert choose(USUAL, {}, free=everything_is_free) == USUAL


def test_the_ports_of_the_last_start_come_before_the_usual_ones() -> None:
    assert choose(USUAL, {"redis": 7000}, free=everything_is_free) == USUAL | {"redis": 7000}


def test_a_taken_port_gives_way() -> None:
    chosen = choose(USUAL, {"redis": 7000}, free=lambda port: port not in {7000, 6379})
    assert chosen["redis"] not in {7000, 6379}


def test_a_part_that_runs_keeps_its_port_though_it_is_taken_by_itself() -> None:
    assert choose(USUAL, {"redis": 7000}, frozenset({"redis"}), free=lambda port: port != 7000)["redis"] == 7000


def test_no_free_port_at_all_is_an_error_with_a_remedy() -> None:
    with pytest.raises(HabitusError, match="no free port for kafka") as error:
        choose(USUAL, {}, free=lambda _port: False)
    assert error.value.remedy


@given(
    usual=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([0, 1, 2, 3])),
    remembered=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.sampled_from([1, 2, 3])),
    taken=st.sets(st.sampled_from([1, 2, 3])),
)
def test_every_part_gets_a_free_port_of_its_own(usual: dict[str, int], remembered: dict[str, int], taken: set[int]) -> None:
    chosen = choose(usual, remembered, free=lambda port: port not in taken)
    assert chosen.keys() == usual.keys()
    assert len(set(chosen.values())) == len(chosen)
    assert not set(chosen.values()) & (taken | {0})


def test_a_port_is_free_unless_somebody_listens_on_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not is_free(port)
    assert is_free(port)


def test_who_listens_on_a_port_is_told_apart() -> None:
    """Promise: another program's server on our port is not taken for our part."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_listened_on_by(port, with_children(os.getpid()))
        assert not is_listened_on_by(port, [os.getppid()])
        assert not is_listened_on_by(port, [])
    assert not is_listened_on_by(port, [os.getpid()])
