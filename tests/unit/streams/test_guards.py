"""The table of guards speaks of the code as it is: `make soak` takes each of them away and expects a failure."""

import re

import pytest

from tests.soak.guards import GUARDS, ROOT, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_each_guard_stands_where_the_table_says_and_its_tests_are_there(guard: Guard) -> None:
    assert guard.occurrences() == 1, f"{guard.file} has {guard.occurrences()} times {guard.old!r}: mend tests/soak/guards.py"
    compile(guard.taken_from(ROOT), guard.file, "exec")
    for test in guard.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"def {name}\b", (ROOT / path).read_text()), test


def test_no_guard_is_named_twice() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
