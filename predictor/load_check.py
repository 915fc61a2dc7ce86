"""What a model must show before it serves, beyond what `model.admit` asks: a signature of our types, and speed.

Place in the flow: `adapters/model_files` calls it for whatever it loads.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from feature_repo.features import BY_NAME
from feature_repo.materialise import inline_row
from feature_repo.person import parse_record, resolve_time
from predictor.model import ServedModel
from runtime.errors import ModelRefused

# The best of so many runs is measured: a busy machine lengthens some of them, a slow model all.
RUNS = 7
_MS_PER_S = 1000.0
_PERSON: Mapping[str, object] = {"person_id": "load-check", "gender": "Female", "age_years": 30, "height_m": 1.7, "weight_kg": 70}


def check_types(described: str, types: Mapping[str, str]) -> None:
    """Refuse a signature that takes a feature as another kind than we give: `types` are MLflow's names of them, by input.

    Raises `ModelRefused`. What is no feature at all, `admit` refuses.
    """
    wrong = [name for name, given in types.items() if name in BY_NAME and (given == "string") != _is_text(name)]
    if wrong:
        told = ", ".join(f"{name} as {types[name]}" for name in wrong)
        raise ModelRefused(f"{described} takes {told}", remedy="train on what `feature_repo/model_input.py` gives")


def check_speed(model: ServedModel, limit_ms: float, timer: Callable[[], float] = time.perf_counter) -> None:
    """Refuse a model that needs more than `limit_ms` for one row, in its best of `RUNS` runs. Raises `ModelRefused`."""
    rows = [_one_row(model)]
    best_ms = min(_timed(lambda: model.score(rows), timer) for _ in range(RUNS)) * _MS_PER_S
    if best_ms > limit_ms:
        raise ModelRefused(
            f"{model.name} version {model.version} needs {best_ms:.1f} ms for one row, the limit is {limit_ms:g} ms",
            remedy="train a smaller model, or raise HABITUS_PREDICTOR_ROW_LIMIT_MS",
        )


def _one_row(model: ServedModel) -> dict[str, Any]:
    return inline_row(resolve_time(parse_record(_PERSON).record, model.loaded_at), None)


def _timed(run: Callable[[], object], timer: Callable[[], float]) -> float:
    started = timer()
    run()
    return timer() - started


def _is_text(name: str) -> bool:
    return BY_NAME[name].dtype == "category"
