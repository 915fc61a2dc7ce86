"""Gate persons: chosen by their id alone, one in ten, for ever."""

from hypothesis import given
from hypothesis import strategies as st

from feature_repo.gate import is_gate, person_hash


def test_about_one_person_in_ten_belongs_to_the_gate() -> None:
    share = is_gate(f"person-{number}" for number in range(10_000)).mean()
    assert 0.09 < share < 0.11


def test_the_choice_is_the_same_in_every_release() -> None:
    """Promise: a person trained on by an older release never turns up in the gate of a newer one."""
    assert person_hash("person-1") == 9870728412633447005
    assert [name for name in map("p-{}".format, range(40)) if is_gate([name])[0]] == ["p-1", "p-21", "p-31", "p-36"]


@given(st.lists(st.text(max_size=64), max_size=20))
def test_who_else_is_asked_about_changes_nothing(persons: list[str]) -> None:
    assert is_gate(persons).tolist() == [bool(is_gate([person])[0]) for person in persons]
