"""The predictor's memory over two million requests."""

import shutil

import pytest

from benchmarks.serving.champion import crown
from benchmarks.serving.contenders import ours
from benchmarks.serving.cores import Cores, on
from benchmarks.serving.memory import growth
from benchmarks.serving.population import simulated, store
from benchmarks.serving.scene import Scene
from benchmarks.serving.stage import staged
from tests.soak.options import option
from tests.soak.telling import Tell

REQUESTS = option("SOAK_REQUESTS", 2_000_000)
BYTES_A_REQUEST = option("SOAK_BYTES_A_REQUEST", 8)  # less than the smallest object of Python
PERSONS = 1_000
SLOWEST_PER_S = 200


@pytest.mark.skipif(shutil.which("h2load") is None, reason="needs h2load: apt-get install nghttp2-client")
@pytest.mark.timeout(REQUESTS // SLOWEST_PER_S + 600)
def test_memory_is_flat_over_many_requests(tell: Tell) -> None:
    """Promise: no request leaves anything behind; two standard errors included, less than an object's size each."""
    cores = Cores.of_this_machine()
    with on(cores.others), staged("soak") as stage:
        people = simulated(PERSONS)
        store(people, stage.settings)
        with ours(Scene.of(stage, cores, people, crown(stage.settings))) as contender:
            found = growth(contender, REQUESTS)
            contender.verify()
    tell(str(found))
    assert found.bytes_a_request.rise + 2 * found.bytes_a_request.error < BYTES_A_REQUEST
