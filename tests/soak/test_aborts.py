"""Every boundary, passed once and several times, in any order, with records of several seeds."""

from random import Random

import pytest

from tests.aborts.boundaries import ALL, OF_OTHER_FILES
from tests.aborts.end_state import differences, found, undisturbed
from tests.aborts.lives import go_on_to_the_end, live_and_die
from tests.scene import Scene
from tests.soak.options import option

SEEDS = option("SOAK_ABORT_SEEDS", 3)
ONCE = tuple(boundary for boundary in OF_OTHER_FILES if boundary.startswith("ledger"))  # a history is bound to its log once


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_at_any_boundary_any_number_of_times_the_end_is_that_of_an_undisturbed_run(scene: Scene, seed: int) -> None:
    random = Random(seed)  # noqa: S311  no secret
    often = [(boundary, nth) for boundary in ALL if boundary not in ONCE for nth in (1, random.randint(2, 4))]
    random.shuffle(often)
    live_and_die(scene, [(boundary, 1) for boundary in ONCE] + often, seed)
    go_on_to_the_end(scene, batch=random.randint(1, 500))
    assert differences(undisturbed(scene.settings), found(scene.settings)) == []
