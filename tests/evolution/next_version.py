"""The next version: one feature more. `python -m tests.evolution.next_version streams` runs its worker, `... habitus verify` its
command, `... rows` prints what its readers see.

The feature is put into the table before anything else is imported; whatever derives from the table follows.
"""

import json
import runpy
import sys

from feature_repo import features

NEW = "weight_to_height_kg_m"


def weight_to_height_kg_m(columns: features.Columns) -> features.Floats:
    """Weight by height, kg/m."""
    return columns["weight_kg"] / columns["height_m"]  # type: ignore[no-any-return]


def become_the_next_version() -> None:
    """Add the feature to the table. Before the modules that derive from the table are imported."""
    features.FEATURES = (*features.FEATURES, features._derived(weight_to_height_kg_m, "float", "kg/m"))
    features.FEATURE_NAMES = tuple(each.name for each in features.FEATURES)
    features.BY_NAME = {each.name: each for each in features.FEATURES}


def print_rows() -> None:
    """What a reader of this version sees in the history, as JSON."""
    from feature_repo.offline.history import open_history  # noqa: PLC0415  only after the table has changed
    from feature_repo.schemas import PERSON_FEATURES  # noqa: PLC0415
    from runtime.settings import Settings  # noqa: PLC0415

    columns = ["person_id", "source_partition", "source_offset", "weight_kg", "height_m", NEW]
    sys.stdout.write(json.dumps(open_history(Settings(), PERSON_FEATURES).scan(columns).to_pylist()))


if __name__ == "__main__":
    become_the_next_version()
    sys.argv = sys.argv[1:]
    if sys.argv[0] == "rows":
        print_rows()
    elif sys.argv[0] == "habitus":
        runpy.run_module("habitus", run_name="__main__")
    else:
        runpy.run_module(sys.argv[0], run_name="__main__")
