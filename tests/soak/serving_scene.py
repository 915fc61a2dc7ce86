"""A predictor's own process over a stack of its own, three registered versions, and what can be done to them."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from kafka import TopicPartition

from benchmarks.serving.champion import labelled
from benchmarks.serving.contenders import predictor_environment
from benchmarks.serving.cores import Cores, on, resident_bytes
from benchmarks.serving.population import Population, simulated, store
from benchmarks.serving.processes import free_addresses, running
from benchmarks.serving.stage import Stage, staged
from habitus.data.identity import Stretch
from habitus.data.simulator import simulate
from runtime.errors import HabitusError
from runtime.kafka import consumer
from runtime.topics import Topics
from tests.soak.serving_truth import Truth
from trainer.bootstrap import wire
from trainer.candidate import Candidate, from_history
from trainer.handlers import Workshop
from trainer.pipeline import Recipe
from trainer.training_set import TrainingSet
from trainer.validation import Effort

POLL_S = 5.0  # between looks at the registry: what an event that Kafka did not carry costs a reload
RECOVERS_WITHIN_S = 20.0  # after a store that is back: reconnecting, closing a circuit breaker
_TRAINING_ROWS = 2_000
_MIB = 2**20


@dataclass
class ServingScene:
    """What a soak acts on. `gone` are the times, by the monotonic clock, from and to which Redis may not have answered."""

    stage: Stage
    shop: Workshop
    truth: Truth
    persons: int
    gone: list[tuple[float, float]] = field(default_factory=list)
    address: str = ""
    pid: int = 0
    generations: int = 0

    def next_rows(self) -> Population:
        """New rows of all persons, later in the log than any before."""
        made = simulated(self.persons, seed=self.generations, first_offset=self.generations * self.persons)
        self.generations += 1
        self.truth.learn(made)
        return made

    def promote(self, version: str) -> None:
        """Make `version` champion, as an operator does."""
        self.shop.promotion.promote(version)

    def restart_redis(self, down_s: float) -> None:
        """Stop Redis, leave it so for a while, start it again with what it had on disk."""
        began = time.monotonic()
        self.gone.append((began, float("inf")))
        self.stage.stack.supervisor.stop("redis")
        time.sleep(down_s)
        self.stage.stack.up(["redis"])
        self.gone[-1] = (began, time.monotonic() + RECOVERS_WITHIN_S)

    def stop_kafka(self) -> None:
        """Kafka is gone until it is started."""
        self.stage.stack.supervisor.stop("kafka")

    def start_kafka(self) -> None:
        """Kafka is back."""
        self.stage.stack.up(["kafka"])

    def store_was_gone(self, since: float) -> bool:
        """Whether Redis may not have answered at any time from `since` to now."""
        return any(since < end for _, end in self.gone)

    def logged(self) -> int:
        """How many predictions the log holds."""
        topic = Topics(self.stage.settings).predictions.name
        reader = consumer(self.stage.settings)
        try:
            places = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
            return sum(reader.end_offsets(places).values())
        finally:
            reader.close()

    def resident_mib(self) -> float:
        """Memory of the predictor."""
        return resident_bytes([self.pid]) / _MIB

    async def in_thread(self, action: str, *arguments: object) -> None:
        """Do what is named without keeping the load waiting."""
        await asyncio.to_thread(getattr(self, action), *arguments)


@contextmanager
def serving_scene(persons: int, versions: int) -> Iterator[ServingScene]:
    """A predictor that serves one of `versions` versions of different size, for `persons` persons who are online."""
    cores = _cores()
    with ExitStack() as opened:
        opened.enter_context(on(cores.others) if cores else nullcontext())
        stage = opened.enter_context(staged("soak"))
        shop = wire(stage.settings)
        numbers = [_registered(shop, rounds=300 + 75 * each) for each in range(versions)]
        pipelines = {version.version: shop.models.load(version) for version in shop.registry.versions()}
        scene = ServingScene(stage, shop, Truth(pipelines), persons)
        store(scene.next_rows(), stage.settings)
        scene.promote(numbers[0])
        opened.enter_context(_predictor(scene, cores))
        yield scene


@contextmanager
def _predictor(scene: ServingScene, cores: Cores | None) -> Iterator[None]:
    addresses = free_addresses("predictor", "metrics")
    scene.address = addresses["predictor"]
    environment = {
        **scene.stage.environment,
        **predictor_environment(addresses["predictor"], addresses["metrics"]),
        "HABITUS_PREDICTOR_POLL_S": str(POLL_S),
    }
    with ExitStack() as opened:
        with on(cores.server) if cores else nullcontext():
            command = [sys.executable, "-m", "predictor"]
            scene.pid = opened.enter_context(running(command, scene.stage.log("predictor"), environment))
        yield


def _cores() -> Cores | None:
    """A core for the predictor alone, where there are two."""
    try:
        return Cores.of_this_machine()
    except HabitusError:
        return None


def _registered(shop: Workshop, rounds: int) -> str:
    """The number of a new version with so many rounds."""
    drawn = simulate(_TRAINING_ROWS, persons=_TRAINING_ROWS, seed=rounds, stretch=Stretch.named("history"))
    data = TrainingSet(labelled(drawn), datetime.now(UTC))
    candidate: Candidate = from_history(data, replace(Recipe(), rounds=rounds), Effort(folds=2))
    return shop.models.register(candidate, {}).version
