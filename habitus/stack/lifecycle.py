"""Up and down: what is started in which order, and that nothing is left behind.

Place in the flow: the commands `up` and `down`, the demo and the tests' fixtures all start and stop parts through `Stack`.
"""

import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from habitus.stack import kafka, mlflow, redis, services
from habitus.stack.endpoints import VARIABLES, Endpoints, external_addresses, local_address, own_predictor_address, port_of
from habitus.stack.home import Home, cache_folder
from habitus.stack.java import find_java
from habitus.stack.parts import ALL_PARTS, SERVICES, Part
from habitus.stack.ports import USUAL, choose, is_free
from habitus.stack.readiness import Watch, await_ready
from habitus.stack.reservations import reservations
from habitus.stack.supervision import ALIVE, Supervisor
from habitus.stack.survivors import await_none, sweep
from runtime.settings import Settings

_STOP_TIMEOUT_S = 60.0  # the sum of what supervisord grants Kafka, Redis and MLflow one after the other, and some more


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
        Settings(home=self.home.root)  # a wrong setting is told before anything starts
        self.home.create()
        with self.home.locked(), self._undone_if_interrupted(), self._released_ports():
            self._supervise(watch)
            return self._start_all(tuple(wanted), watch)

    def down(self) -> int:
        """Stop everything of this home, also what outlived a crash; returns how many processes had to be swept."""
        if not self.home.root.exists():
            return sweep(self.home.root)
        with self.home.locked():
            return self._stop_all()

    def purge(self) -> tuple[str, ...]:
        """Stop everything and delete the home; returns the names of what is not ours and was left.

        Raises `HabitusError` if it does not look like a home.
        """
        if self.home.root.exists():
            self.home.refuse_unless_ours()
        self.down()
        return self.home.purge()

    def _supervise(self, watch: Watch) -> None:
        if self.supervisor.is_running():
            return
        if swept := sweep(self.home.root):
            watch("stack", f"stopped {swept} processes that a crash had left")
        self.home.remember_ports(self.home.remembered_ports())
        self.supervisor.launch(tied=self._tied)

    def _start_all(self, wanted: tuple[str, ...], watch: Watch) -> Endpoints:
        endpoints, ports = self._endpoints(wanted)
        local = [name for name in ALL_PARTS if name in wanted and name not in endpoints.external]
        # The quick ones first: they start while Kafka's jars are fetched and its storage is formatted.
        order = [name for name in ("redis", "mlflow", "kafka") if name in local]
        parts = [self._start(self._infrastructure(name, ports, watch), watch) for name in order]
        settings = _settings(self.home, endpoints)
        chosen = [services.part(name, self.home, endpoints, settings) for name in SERVICES if name in local]
        if {service.name for service in chosen} - self._alive():
            self._prepare_for_services([part for part in parts if part.name != "mlflow"], settings, watch)
        parts += [self._start(service, watch) for service in chosen]
        await_ready(self.supervisor, parts, watch)
        return endpoints

    def _prepare_for_services(self, needed: list[Part], settings: Settings, watch: Watch) -> None:
        """Create topics and apply Feast's definitions; the latter, the slower, while Kafka starts."""
        await_ready(self.supervisor, [part for part in needed if part.name == "redis"], watch)
        watch("feast", "applying definitions")
        services.apply_definitions(settings)
        watch("feast", "ready")
        await_ready(self.supervisor, needed, watch)
        watch("topics", "creating what is missing")
        services.create_topics(settings)
        watch("topics", "ready")

    def _endpoints(self, wanted: tuple[str, ...]) -> tuple[Endpoints, dict[str, int]]:
        """Choose ports, remember them, tell every process through `stack.env`."""
        remembered = self.home.remembered_ports()
        external = external_addresses(remembered)
        alive = self._alive()
        here = (alive | set(wanted)) - set(external)
        usual = {name: port for name, port in self._usual.items() if name.removesuffix("_controller") in here}
        ours = frozenset(name for name in usual if name.removesuffix("_controller") in alive)
        named = own_predictor_address()
        with reservations(cache_folder(), self.home.root) as book:
            ports = choose(usual, remembered, ours, free=lambda port: is_free(port) and not book.is_of_another(port))
            book.add(ports.values())
        ports |= {name: port_of(address) for name, address in named.items()}
        self.home.remember_ports(remembered | ports)
        local = {name: local_address(name, port) for name, port in ports.items() if name in VARIABLES} | named
        endpoints = Endpoints(local | external, frozenset(external))
        endpoints.write(self.home)
        return endpoints, ports

    def _infrastructure(self, name: str, ports: Mapping[str, int], watch: Watch) -> Part:
        watch(name, "preparing")
        if name == "kafka":
            return kafka.part(self.home, find_java(), ports["kafka"], ports["kafka_controller"])
        if name == "redis":
            return redis.part(self.home, redis.find_redis(), ports["redis"])
        return mlflow.part(self.home, ports["mlflow"])

    def _start(self, part: Part, watch: Watch) -> Part:
        self.supervisor.install([part])
        watch(part.name, "starting" if self.supervisor.start(part.name) else "running already")
        return part

    def _alive(self) -> set[str]:
        return {name for name, each in self.supervisor.states().items() if each.state in ALIVE}

    @contextmanager
    def _released_ports(self) -> Iterator[None]:
        """Give back reservations at the end: what started has opened its ports, what did not needs none."""
        try:
            yield
        finally:
            with reservations(cache_folder(), self.home.root) as book:
                book.release()

    @contextmanager
    def _undone_if_interrupted(self) -> Iterator[None]:
        before = self._alive()
        try:
            yield
        except (KeyboardInterrupt, SystemExit):
            with _uninterruptible():
                if not before:
                    self._stop_all()
                self.supervisor.stop(*(self._alive() - before))
            raise

    def _stop_all(self) -> int:
        # Services first, all at once: they finish what they have in hand while Kafka and Redis still answer.
        self.supervisor.stop(*(self._alive() & set(SERVICES)))
        if self.supervisor.shut_down():
            await_none(self.home.root, _STOP_TIMEOUT_S)
        swept = sweep(self.home.root)
        self.supervisor.take_leave()
        return swept


def _settings(home: Home, endpoints: Endpoints) -> Settings:
    values = {name.removeprefix("HABITUS_").lower(): value for name, value in endpoints.environment.items()}
    known = {name: value for name, value in values.items() if name in Settings.model_fields}
    return Settings(home=home.root, **known)  # type: ignore[arg-type]  # pydantic reads them from text


@contextmanager
def _uninterruptible() -> Iterator[None]:
    """While parts are being stopped, further interrupts wait: they would leave orphans."""
    before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
