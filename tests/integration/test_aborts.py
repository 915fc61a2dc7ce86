"""A real worker is killed at every boundary of its work and another goes on with another cut: nothing is lost or doubled."""

import pytest

from tests.aborts.boundaries import OF_A_BATCH
from tests.aborts.end_state import differences, found, undisturbed
from tests.aborts.lives import go_on_to_the_end, live_and_die
from tests.scene import Scene

pytestmark = pytest.mark.timeout(300)


def test_killed_at_every_boundary_the_end_is_that_of_an_undisturbed_run(scene: Scene) -> None:
    """Promise: SIGKILL between any two effects, then another worker with another cut, leaves what an undisturbed run leaves."""
    live_and_die(scene, [(boundary, 1 + number % 2) for number, boundary in enumerate(OF_A_BATCH)], seed=20240501)
    go_on_to_the_end(scene, batch=500)
    assert differences(undisturbed(scene.settings), found(scene.settings)) == []
