"""A feature is added while old history, old online rows and workers of both versions exist: nobody reads a wrong value."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from redis import Redis

from feature_repo.online import layout
from tests.evolution.next_version import NEW
from tests.scene import ROOT, Scene, send_people, wait_until

pytestmark = pytest.mark.timeout(240)

ENDS_WITHIN_S = 60.0
NEXT = ("-m", "tests.evolution.next_version")


def run_next(scene: Scene, *words: str) -> Any:
    """What a command of the next version prints, as JSON."""
    done = subprocess.run(
        [sys.executable, *NEXT, *words],
        cwd=ROOT,
        env=os.environ | scene.environment,
        capture_output=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def online_values(scene: Scene) -> dict[str, tuple[float, float, float | None]]:
    """By person weight, height and the new feature's value, as any Feast client of the next version finds them."""
    fields = [layout.field_of(name) for name in ("weight_kg", "height_m", NEW)]
    found = {}
    with Redis.from_url(scene.settings.redis_url.get_secret_value()) as client:
        for number in range(50):
            values = client.hmget(layout.entity_key(f"p{number}", scene.settings.project), fields)
            found[f"p{number}"] = tuple(map(layout.decode_value, values))
    return found  # type: ignore[return-value]


def require_right_or_null(rows: Mapping[object, tuple[float, float, float | None]]) -> int:
    """No row has a wrong value; returns how many have one."""
    known = {key: row for key, row in rows.items() if row[2] is not None}
    assert all(value == weight_kg / height_m for weight_kg, height_m, value in known.values())
    return len(known)


def history_values(scene: Scene) -> dict[object, tuple[float, float, float | None]]:
    rows = run_next(scene, "rows")
    return {(row["source_partition"], row["source_offset"]): (row["weight_kg"], row["height_m"], row[NEW]) for row in rows}


def drain(scene: Scene) -> None:
    scene.drain(scene.topics.records.name, scene.topics.labels.name)


def test_a_rolling_upgrade_and_a_backfill_show_nobody_a_wrong_value(scene: Scene) -> None:
    """Promise: old rows read null, a row that old code wrote after new code reads null, and after the backfill all have it."""
    send_people(scene, 200)
    scene.start()
    drain(scene)
    old = scene.worker

    scene.start("tests.evolution.next_version", "streams")  # both versions at work
    wait_until(lambda: scene.log.read_text().count("assigned: ") >= 3, ENDS_WITHIN_S, "the partitions shared")
    send_people(scene, 200, start=200)
    drain(scene)
    assert 0 < require_right_or_null(online_values(scene)) < 50
    assert 0 < require_right_or_null(history_values(scene)) < 200

    scene.kill()  # the old version takes the partitions back
    send_people(scene, 100, start=400)
    drain(scene)
    assert require_right_or_null(online_values(scene)) == 0

    done = run_next(scene, "habitus", "backfill", "--json")
    assert (done["epoch"], done["accepted"]) == (1, 500)
    send_people(scene, 50, start=500)
    assert old is not None
    assert old.wait(timeout=ENDS_WITHIN_S) == 1
    assert NEW in scene.log.read_text()
    scene.start("tests.evolution.next_version", "streams")
    drain(scene)
    assert require_right_or_null(online_values(scene)) == 50
    assert require_right_or_null(history_values(scene)) == 550
    assert run_next(scene, "habitus", "verify", "--all", "--json")["mismatched"] == 0
