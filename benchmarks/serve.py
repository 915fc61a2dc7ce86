"""Predictions by person over gRPC: ours against the naive stack, Feast's feature server with a model, MLServer, and a bare echo.

All run at once on the same core, one at work at a time, and are measured in turn, round by round; the load client (h2load, in C)
and Redis have the other core. Ours is the predictor's own process with its prediction log to a real Kafka and its metrics. What
each answers is compared with the registered model before and after, and every answer's size meanwhile.
"""

import argparse
import json
import platform
import sys

from rich.console import Console

from benchmarks.serving.champion import crown
from benchmarks.serving.contenders import OURS, Field, running_all
from benchmarks.serving.cores import Cores, on
from benchmarks.serving.counted import counted_codes
from benchmarks.serving.h2load import find_h2load
from benchmarks.serving.memory import growth
from benchmarks.serving.population import simulated, store
from benchmarks.serving.profiling import profiled
from benchmarks.serving.rounds import measure_in_turn
from benchmarks.serving.scene import Scene
from benchmarks.serving.stage import Stage, staged
from benchmarks.serving.tables import TASKS, summary, tables
from runtime.errors import HabitusError
from runtime.logs import hush_warnings

PERSONS = 10_000
ROUNDS, SECONDS = 5, 5.0
QUICK_ROUNDS, QUICK_SECONDS = 3, 0.7
MEMORY_REQUESTS = 40_000
WIDTH = 120  # of what is printed into a file


def main() -> None:
    """Measure and print."""
    given = options()
    find_h2load()
    cores = Cores.of_this_machine()
    hush_warnings()
    with on(cores.others), staged("bench") as stage:
        scene = prepared(stage, cores)
        if given.profile:
            console.print(profiled(scene, given.seconds))
            return
        with running_all(scene) as field:
            verify(field)
            results = measure_in_turn(field.contenders, TASKS, given.rounds, given.seconds, console.log)
            grown = growth(field[OURS], given.requests)
            verify(field)
            codes = counted_codes(field[OURS].metrics)
    for table in tables(field, results):
        console.print(table, end="\n\n")
    console.print(f"{OURS}'s memory: {grown}")
    console.print(f"codes that {OURS} counted itself: {codes or 'it serves no metrics'}")
    told = summary(results) | {"memory_bytes_per_request": round(grown.bytes_a_request.rise, 2)}
    print(json.dumps(told))  # noqa: T201  the last line is for scripts


def options() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="measure for a minute or two: three short rounds")
    parser.add_argument("--rounds", type=int, help=f"how often each is measured under each load (default {ROUNDS}, at least 3)")
    parser.add_argument("--seconds", type=float, help=f"how long about a measurement takes (default {SECONDS:.0f})")
    parser.add_argument("--requests", type=int, default=MEMORY_REQUESTS, help="requests over which memory is watched")
    parser.add_argument("--profile", action="store_true", help="only tell where our process spends its time")
    given = parser.parse_args()
    given.rounds = max(3, given.rounds or (QUICK_ROUNDS if given.quick else ROUNDS))
    given.seconds = given.seconds or (QUICK_SECONDS if given.quick else SECONDS)
    return given


def prepared(stage: Stage, cores: Cores) -> Scene:
    """Persons online and a champion in the registry."""
    console.log(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; {cores}")
    people = simulated(PERSONS)
    store(people, stage.settings)
    console.log(f"{PERSONS:,} persons are online; training the model")
    champion = crown(stage.settings)
    console.log(f"version {champion.version} is champion. {champion.origin}")
    return Scene.of(stage, cores, people, champion)


def verify(field: Field) -> None:
    """Compare what each contender answers with the model. Raises `WrongAnswers`."""
    for each in field.contenders:
        each.verify()
    console.log(f"the answers of {', '.join(each.name for each in field.contenders)} are those of the model")


console = Console(log_path=False, width=None if sys.stdout.isatty() else WIDTH)

if __name__ == "__main__":
    try:
        main()
    except HabitusError as error:
        sys.exit(f"{error} ({error.remedy})" if error.remedy else str(error))
