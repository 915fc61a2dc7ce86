"""The first steps: a stack, a population, and its history through the stream into the feature store."""

import asyncio

from rich.table import Table

from feature_repo.labels import LEVELS
from habitus.data.columns import LEVEL, PERSON
from habitus.data.messages import ReplayOptions
from habitus.data.settings import DataSettings
from habitus.data.sources import open_population
from habitus.demo.log import dead_offsets, published
from habitus.demo.population import SOURCE, split
from habitus.demo.stage import Stage
from streams.verify import verify

_BAR_WIDTH = 30


def start(stage: Stage) -> None:
    """Kafka, Redis, MLflow and our four services, as processes of this machine."""
    endpoints = stage.stack.up(watch=lambda part, progress: stage.narrator.wait(f"{part}: {progress}"))
    stage.settings = DataSettings(home=stage.stack.home.root)
    for part, address in endpoints.addresses.items():
        stage.narrator.say(f"{part} at {address}")
    alive = stage.stack.supervisor.states()
    running = [name for name, process in alive.items() if process.state == "running"]
    stage.narrator.check(
        "every part of the stack runs", held=len(running) == len(alive), evidence=f"{len(running)} of {len(alive)}"
    )


def open_people(stage: Stage) -> None:
    """Published rows where they can be had, else a simulated population, cut into three groups that share no person."""
    population = open_population(stage.settings)
    stage.narrator.say(population.note)
    stage.groups = groups = split(population)
    table = Table("obesity level", "rows", "", box=None, pad_edge=False)
    counts = groups.history[LEVEL].value_counts()
    for level in LEVELS:
        count = int(counts.get(level, 0))
        table.add_row(level.replace("_", " "), f"{count:,}", "█" * round(_BAR_WIDTH * count / max(counts.max(), 1)))
    stage.narrator.show(table)
    for name, rows in vars(groups).items():
        stage.narrator.say(f"{name}: {len(rows):,} records of {rows[PERSON].nunique():,} persons")
    persons = [set(rows[PERSON]) for rows in vars(groups).values()]
    shared = len(persons[0] & persons[1]) + len(persons[0] & persons[2]) + len(persons[1] & persons[2])
    stage.narrator.check("the three groups share no person", held=shared == 0, evidence=f"{shared} shared")


def replay_history(stage: Stage) -> None:
    """Half a year of records, each message with the time of its event, and their labels a week later each."""
    summary = stage.replay(stage.people().history, ReplayOptions(source=SOURCE, stretch="history"))
    stage.narrator.say(
        f"published {summary.records:,} records and {summary.labels:,} labels of {summary.persons:,} persons "
        f"from {summary.first_time:%Y-%m-%d} to {summary.last_time:%Y-%m-%d} in {summary.seconds:.1f} s"
    )
    stage.drain()


def verify_stream(stage: Stage) -> None:
    """Nothing lost and nothing twice; what is served is what is kept."""
    check_counts(stage)
    found = asyncio.run(verify(stage.settings, None))
    stage.narrator.check(
        "the online store equals the history",
        held=found.holds and found.checked > 0,
        evidence=f"{found.checked:,} persons, {found.mismatched} mismatched, {found.missing} missing, {found.extra} extra",
    )


def check_counts(stage: Stage) -> None:
    """Accepted plus dead letters equals published, for records and for labels, counted by distinct source offset."""
    topics = stage.topics
    for name, topic, history in (("records", topics.records, stage.features()), ("labels", topics.labels, stage.labels())):
        rows = history.scan(["source_partition", "source_offset"])
        accepted = len(set(zip(*(column.to_pylist() for column in rows.columns), strict=True)))
        dead, sent = len(dead_offsets(stage.settings, topic.name)), published(stage.settings, topic)
        stage.narrator.check(
            f"every one of the {name} is accepted or a dead letter",
            held=accepted + dead == sent == stage.published[name] and rows.num_rows == accepted,
            evidence=f"{accepted:,} accepted + {dead:,} dead = {sent:,} published",
        )
