"""What a model must show before it serves: our types, and speed."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from predictor.load_check import RUNS, check_speed, check_types
from runtime.errors import ModelRefused


def timer(runs_ms: list[float]) -> Callable[[], float]:
    """A timer by which the runs last so long, one after the other."""

    def moments() -> Iterator[float]:
        now_s = 0.0
        for run_ms in runs_ms:
            yield now_s
            now_s += run_ms / 1000
            yield now_s

    told = moments()
    return lambda: next(told)


@pytest.fixture
def model(make_model: Any, classifier: Any) -> Any:
    made = make_model(classifier)
    classifier.calls.clear()
    return made


def test_a_busy_machine_refuses_no_good_model(model: Any, classifier: Any):
    """Promise: the best of all runs counts, each of one row."""
    check_speed(model, 10, timer([500.0] * (RUNS - 1) + [9.9]))
    assert classifier.calls == [1] * RUNS


def test_a_model_that_is_slow_at_its_best_is_refused(model: Any):
    with pytest.raises(ModelRefused, match=r"10\.1 ms for one row, the limit is 10 ms") as caught:
        check_speed(model, 10, timer([500.0] * (RUNS - 1) + [10.1]))
    assert "HABITUS_PREDICTOR_ROW_LIMIT_MS" in caught.value.remedy


@pytest.mark.parametrize(
    "types", [{"weight_kg": "double", "gender": "string"}, {"records_seen": "long"}, {"shoe_size": "string"}]
)
def test_types_that_we_give_pass(types: dict[str, str]):
    """Promise: numbers of any kind pass, and what is no feature at all is another check's."""
    check_types("it", types)


@pytest.mark.parametrize("types", [{"weight_kg": "string"}, {"smokes": "string"}, {"gender": "double"}])
def test_a_signature_of_other_types_is_refused(types: dict[str, str]):
    [(name, given)] = types.items()
    with pytest.raises(ModelRefused, match=f"{name} as {given}"):
        check_types("it", types)
