"""Up and down: what is started in which order, and that nothing is left behind.

Place in the flow: the commands `up` and `down`, the demo and the tests' fixtures all start and stop parts through `Stack`.
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from habitus.stack import kafka, mlflow, redis, services
from habitus.stack.endpoints import VARIABLES, Endpoints, external_addresses, local_address
from habitus.stack.home import Home
from habitus.stack.java import find_java
from habitus.stack.parts import ALL_PARTS, SERVICES, Part
from habitus.stack.ports import USUAL, choose
from habitus.stack.supervision import ALIVE, Supervisor
from habitus.stack.survivors import await_none, sweep
from runtime.errors import HabitusError
from runtime.settings import Settings

# MLflow's first start took 31 s on two cores with nothing else running; everything starting at once takes longer.
_READY_TIMEOUT_S = 240.0
_STOP_TIMEOUT_S = 30.0
_LOOK_EVERY_S = 0.1

Watch = Callable[[str, str], None]  # told of each part, or step, and how far it is


def _unwatched(part: str, progress: str) -> None:
    """Nobody looks."""


class Stack:
    """The local stack of one home.

    `usual` are the ports to prefer (0: any free one). A `tied` stack ends with the thread that started it (Linux).
    """

    def __init__(self, home: Home, *, usual: Mapping[str, int] = USUAL, tied: bool = False) -> None:
        self.home = home
        self.supervisor = Supervisor(home)
        self._usual = usual
        self._tied = tied

    def up(self, wanted: Iterable[str] = ALL_PARTS, watch: Watch = _unwatched) -> Endpoints:
        """Start those `wanted` parts that do not run and return when all are ready.

        Parts that run stay as they are, unless they are now to be started otherwise. If it is interrupted, what it started
        is stopped again; if a part fails, the rest goes on. Raises `HabitusError` if a part does not become ready.
        """
        with self.home.locked():
            fresh = self._supervise(watch)
            with self._undone_if_interrupted(fresh=fresh):
                return self._start_all(tuple(wanted), watch)

    def down(self) -> int:
        """Stop everything of this home, also what outlived a crash; returns how many processes had to be swept."""
        with self.home.locked():
            return self._stop_all()

    def purge(self) -> None:
        """Stop everything and delete the home. Raises `HabitusError` if it does not look like one."""
        if self.home.root.exists():
            self.home.refuse_unless_ours()
            self.down()
            self.home.purge()

    def _supervise(self, watch: Watch) -> bool:
        """See that supervisord runs; True if it had to be started."""
        if self.supervisor.is_running():
            return False
        if swept := sweep(self.home.root):
            watch("stack", f"stopped {swept} processes that a crash had left")
        self.home.remember_ports(self.home.remembered_ports())
        self.supervisor.launch(tied=self._tied)
        return True

    def _start_all(self, wanted: tuple[str, ...], watch: Watch) -> Endpoints:
        endpoints, ports = self._endpoints(wanted)
        settings = _settings(self.home, endpoints)
        local = [name for name in ALL_PARTS if name in wanted and name not in endpoints.external]
        parts: dict[str, Part] = {}
        # The quick ones first: they start while Kafka's jars are fetched and its storage is formatted.
        for name in sorted(set(local) - set(SERVICES), key=("redis", "mlflow", "kafka").index):
            watch(name, "preparing")
            parts[name] = self._start(self._infrastructure(name, ports), watch)
        if set(local) & set(SERVICES):
            self._await_ready([parts[name] for name in ("kafka", "redis") if name in parts], watch)
            _prepare_for_services(settings, watch)
            for name in (name for name in SERVICES if name in local):
                parts[name] = self._start(services.part(name, self.home, endpoints), watch)
        self._await_ready(list(parts.values()), watch)
        return endpoints

    def _endpoints(self, wanted: tuple[str, ...]) -> tuple[Endpoints, dict[str, int]]:
        """Choose ports, remember them, tell every process through `stack.env`."""
        remembered = self.home.remembered_ports()
        external = external_addresses(remembered)
        alive = {name for name, each in self.supervisor.states().items() if each.state in ALIVE}
        here = (alive | set(wanted)) - set(external)
        usual = {name: port for name, port in self._usual.items() if name.removesuffix("_controller") in here}
        ours = frozenset(name for name in usual if name.removesuffix("_controller") in alive)
        ports = choose(usual, remembered, ours)
        self.home.remember_ports(remembered | ports)
        local = {name: local_address(name, port) for name, port in ports.items() if name in VARIABLES}
        endpoints = Endpoints(local | external, frozenset(external))
        endpoints.write(self.home)
        return endpoints, ports

    def _infrastructure(self, name: str, ports: Mapping[str, int]) -> Part:
        if name == "kafka":
            return kafka.part(self.home, find_java(), ports["kafka"], ports["kafka_controller"])
        if name == "redis":
            return redis.part(self.home, redis.find_redis(), ports["redis"])
        return mlflow.part(self.home, ports["mlflow"])

    def _start(self, part: Part, watch: Watch) -> Part:
        self.supervisor.install([part])
        watch(part.name, "starting" if self.supervisor.start(part.name) else "running already")
        return part

    def _await_ready(self, parts: list[Part], watch: Watch) -> None:
        """Wait until every part runs and answers; a failed part does not keep the others from being waited for."""
        deadline = time.monotonic() + _READY_TIMEOUT_S
        waiting, failed = {part.name: part for part in parts}, []
        while waiting:
            states = self.supervisor.states()
            for name, part in list(waiting.items()):
                state = states[name].state if name in states else "gone"
                if state == "running" and part.answers():
                    watch(name, "ready")
                    del waiting[name]
                elif state not in ALIVE or time.monotonic() > deadline:
                    watch(name, "failed")
                    failed.append(name)
                    del waiting[name]
                else:
                    watch(name, _expectation(state, part))
            time.sleep(_LOOK_EVERY_S if waiting else 0)
        if failed:
            raise HabitusError(
                f"not ready: {', '.join(failed)}", remedy=f"`habitus logs {failed[0]}` tells why; then `habitus up` again"
            )

    @contextmanager
    def _undone_if_interrupted(self, *, fresh: bool) -> Iterator[None]:
        before = set() if fresh else {n for n, each in self.supervisor.states().items() if each.state in ALIVE}
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            with _uninterruptible():
                if not before:
                    self._stop_all()
                for name in set(self.supervisor.states()) - before:
                    self.supervisor.stop(name)
            raise

    def _stop_all(self) -> int:
        if self.supervisor.shut_down():
            await_none(self.home.root, _STOP_TIMEOUT_S)
        swept = sweep(self.home.root)
        self.supervisor.reap()
        return swept


def _prepare_for_services(settings: Settings, watch: Watch) -> None:
    watch("topics", "creating what is missing")
    services.create_topics(settings)
    watch("topics", "ready")
    watch("feast", "applying definitions")
    services.apply_definitions(settings)
    watch("feast", "ready")


def _settings(home: Home, endpoints: Endpoints) -> Settings:
    values = {name.removeprefix("HABITUS_").lower(): value for name, value in endpoints.environment.items()}
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    return Settings(home=home.root, **known)  # type: ignore[arg-type]  # pydantic reads them from text


def _expectation(state: str, part: Part) -> str:
    if state == "backoff":
        return "ended early, will be tried again"
    return f"waiting for {part.address}" if part.address else "starting"


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """While parts are being stopped, further interrupts wait: they would leave orphans."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
