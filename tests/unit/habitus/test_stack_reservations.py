"""Promises about two stacks that start at once."""

from pathlib import Path

from habitus.stack.reservations import Reservations, reservations


def test_a_port_that_one_stack_reserved_is_kept_from_others_until_released(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    with reservations(tmp_path, mine) as book:
        book.add([9092])
        assert not book.is_of_another(9092)
    with reservations(tmp_path, other) as book:
        assert book.is_of_another(9092)
        assert not book.is_of_another(6379)
    with reservations(tmp_path, mine) as book:
        book.release()
    with reservations(tmp_path, other) as book:
        assert not book.is_of_another(9092)


def test_a_reservation_runs_out() -> None:
    """Promise: a start that was killed does not block its ports for ever."""
    seconds = [1000.0]
    mine = Reservations("mine", now=lambda: seconds[0])
    mine.add([9092])
    other = Reservations("other", now=lambda: seconds[0], held=mine.held)
    assert other.is_of_another(9092)
    seconds[0] += 3600
    assert not other.is_of_another(9092)
    other.release()
    assert other.held == {}


def test_a_damaged_file_of_reservations_counts_as_empty(tmp_path: Path) -> None:
    for damaged in ("", "[]", '{"x": 1}', '{"1": [2]}'):
        (tmp_path / "ports.json").write_text(damaged)
        with reservations(tmp_path, tmp_path) as book:
            assert book.held == {}
