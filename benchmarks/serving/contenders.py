"""The servers that are compared, started on the server's core and known to answer.

Each serves the same model; all but MLServer and the echo find the same persons in the same Redis.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np

from benchmarks.rivals import mlserver
from benchmarks.serving.asking import PREDICT, PREDICT_BATCH, Verify, ask, batch_for, request_for, require_right, sized
from benchmarks.serving.champion import booster_of, encoded
from benchmarks.serving.h2load import Call, WrongAnswers
from benchmarks.serving.population import features
from benchmarks.serving.processes import free_addresses
from benchmarks.serving.scene import Scene
from habitus.stack.endpoints import port_of
from runtime.errors import HabitusError

OURS, NAIVE, FEAST, MLSERVER, ECHO = "habitus", "naive", "feast server", "mlserver", "echo"
ASKED_FOR = 4  # persons that the load is about: h2load sends one body a process
BATCH = 100


@dataclass(frozen=True)
class Contender:
    """A server that runs: its processes, the calls that make the load (one a load process), and the check of its answers."""

    name: str
    address: str
    pids: tuple[int, ...]
    calls: Sequence[Call]
    verify: Verify
    batches: Sequence[Call] = ()
    metrics: str = ""


@dataclass(frozen=True)
class Field:
    """All contenders that run, and why others do not."""

    contenders: Sequence[Contender]
    absent: dict[str, str]

    def __getitem__(self, name: str) -> Contender:
        return next(each for each in self.contenders if each.name == name)


@contextmanager
def running_all(scene: Scene) -> Iterator[Field]:
    """Every contender that can be started here."""
    with ExitStack() as opened:
        first = opened.enter_context(ours(scene))
        started = [first, opened.enter_context(naive(scene)), opened.enter_context(feast(scene))]
        absent = {}
        try:
            started.append(opened.enter_context(ml_server(scene)))
        except HabitusError as error:
            absent[MLSERVER] = str(error)
        started.append(opened.enter_context(echo(scene, first)))
        yield Field(started, absent)


@contextmanager
def ours(scene: Scene, *before: str) -> Iterator[Contender]:
    """The predictor's own process, with its prediction log to Kafka and its metrics; `before` are modules to run it under."""
    addresses = free_addresses("predictor", "metrics")
    environment = predictor_environment(addresses["predictor"], addresses["metrics"])
    with scene.server(OURS, *before, "predictor", environment=environment) as pid:
        yield _by_person(OURS, scene, addresses["predictor"], pid, metrics=addresses["metrics"])


def predictor_environment(address: str, metrics: str) -> dict[str, str]:
    """The settings of a predictor that listens at `address` and serves its metrics at `metrics`."""
    return {"HABITUS_PREDICTOR_ADDRESS": address, "HABITUS_PREDICTOR_METRICS_PORT": str(port_of(metrics))}


@contextmanager
def naive(scene: Scene) -> Iterator[Contender]:
    """grpc.aio, redis.asyncio and `Booster.predict`."""
    address = free_addresses(NAIVE)[NAIVE]
    settings = scene.stage.settings
    store = ("--redis", settings.redis_url.get_secret_value(), "--project", settings.project)
    model = ("--model", str(scene.stage.folder))
    with scene.server(NAIVE, "benchmarks.rivals.naive", "--address", address, *store, *model) as pid:
        yield _by_person(NAIVE, scene, address, pid)


@contextmanager
def feast(scene: Scene) -> Iterator[Contender]:
    """Feast's feature server, and in front of it the process that calls the model."""
    addresses = free_addresses("front", "features")
    store, model = ("--features", addresses["features"]), ("--model", str(scene.stage.folder))
    front = ("benchmarks.rivals.feast_front", "--address", addresses["front"], *store, *model)
    with (
        scene.server("feast-server", "benchmarks.rivals.feast_server", "--address", addresses["features"]) as server_pid,
        scene.server("feast-front", *front) as front_pid,
    ):
        yield _by_person(FEAST, scene, addresses["front"], server_pid, front_pid)


@contextmanager
def echo(scene: Scene, answering: Contender) -> Iterator[Contender]:
    """The limit: the answer that `answering` gives to its first call, again and again."""
    address, call = free_addresses(ECHO)[ECHO], answering.calls[0]
    file = scene.stage.folder / "answer"
    with grpc.insecure_channel(answering.address) as channel:
        file.write_bytes(ask(channel, call.method, call.message))
    with scene.server(ECHO, "benchmarks.rivals.echo", "--address", address, "--answer", str(file)) as pid:
        calls = sized(address, call.method, [each.message for each in answering.calls])
        yield Contender(ECHO, address, (pid,), calls, verify=lambda: None)


@contextmanager
def ml_server(scene: Scene) -> Iterator[Contender]:
    """MLServer, which is handed the features. Raises `HabitusError` where it does not install or start."""
    program, folder = mlserver.program(), scene.stage.folder / "mlserver"
    ports = {name: port_of(address) for name, address in free_addresses("grpc", "http", "metrics").items()}
    mlserver.describe(folder, scene.stage.folder / "model.txt", ports)
    address = f"127.0.0.1:{ports['grpc']}"
    rows = encoded(scene.champion.pipeline, features(scene.people).head(ASKED_FOR))
    expected = booster_of(scene.champion.pipeline).predict(rows)
    with scene.process(MLSERVER, str(program), "start", str(folder)) as pid:
        calls = sized(address, mlserver.METHOD, map(mlserver.request_for, rows.tolist()))
        yield Contender(MLSERVER, address, (pid,), calls, partial(_require_numbers, address, calls, expected))


def _by_person(name: str, scene: Scene, address: str, *pids: int, metrics: str = "") -> Contender:
    """The contender at `address` that answers our own calls."""
    everybody = scene.people.person_ids
    calls = sized(address, PREDICT, map(request_for, everybody[:ASKED_FOR]))
    groups = [everybody[start * BATCH : (start + 1) * BATCH] for start in range(ASKED_FOR)]
    batches = sized(address, PREDICT_BATCH, map(batch_for, groups))
    verify = partial(require_right, address, scene.expected)
    return Contender(name, address, pids, calls, verify, batches, metrics)


def _require_numbers(address: str, calls: Sequence[Call], expected: "np.ndarray[tuple[int, int], np.dtype[np.float64]]") -> None:
    with grpc.insecure_channel(address) as channel:
        for call, probabilities in zip(calls, expected, strict=True):
            if not mlserver.holds(ask(channel, call.method, call.message), probabilities.tolist()):
                raise WrongAnswers(f"{MLSERVER} does not answer {probabilities}, as the model does")
