"""Several predictors behind one address: real processes, which need no Kafka, Redis or MLflow to answer that they wait."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

pytestmark = pytest.mark.timeout(180)
WITHIN_S = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Poll `condition` with a deadline."""
    end_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end_s, "it did not come to be in time"
        time.sleep(0.05)


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free."""
    for _ in range(50):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
        if all(_is_free(port + number) for number in range(count)):
            return port
    raise AssertionError("no ports")


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) != 0


class Predictors:
    """A started `python -m predictor` and its workers."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.process.pid).children()}

    def listening(self) -> set[int]:
        """Workers that listen on the port now."""
        return {pid for pid in self.workers() if self._listens(pid)}

    def _listens(self, pid: int) -> bool:
        try:
            found = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.NoSuchProcess:
            return False
        return any(each.status == psutil.CONN_LISTEN and each.laddr.port == self.port for each in found)

    def ask_health(self) -> int:
        """What the health service answers on a connection of its own."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=options) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=10, wait_for_ready=True).status)


def environment(home: Path, port: int, processes: int, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "HABITUS_HOME": str(home),
        "HABITUS_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "HABITUS_REDIS_URL": "redis://127.0.0.1:1/0",
        "HABITUS_MLFLOW_URI": "http://127.0.0.1:1",
        "HABITUS_PREDICTOR_ADDRESS": f"127.0.0.1:{port}",
        "HABITUS_PREDICTOR_PROCESSES": str(processes),
        **more,
    }


COMMAND = [sys.executable, "-m", "predictor"]


@contextmanager
def started(tmp_path: Path, processes: int, **more: str) -> Iterator[Predictors]:
    """Predictors that all listen; whatever is left of them is killed in the end."""
    port, log = free_ports(1), tmp_path / "predictor.log"
    with log.open("wb") as out:
        process = subprocess.Popen(COMMAND, env=environment(tmp_path, port, processes, **more), stderr=out)
    made = Predictors(process, port, log)
    seen = set()
    try:
        until(lambda: len(made.listening()) == processes)
        seen = made.workers()
        yield made
    finally:
        process.kill()
        process.wait()
        for pid in seen:
            if psutil.pid_exists(pid) and psutil.Process(pid).cmdline()[1:] == COMMAND[1:]:
                os.kill(pid, signal.SIGKILL)


def test_all_answer_on_one_port_each_with_its_metrics_and_sigterm_ends_all_with_0(tmp_path: Path) -> None:
    """Promise: the workers share the address, tell their metrics at port + number, and end together after a signal."""
    metrics = free_ports(2)
    with started(tmp_path, 2, HABITUS_PREDICTOR_METRICS_PORT=str(metrics)) as predictors:
        assert predictors.ask_health() == health_pb2.HealthCheckResponse.NOT_SERVING
        for number in range(2):
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics + number}/metrics", timeout=10) as answer:
                assert b"habitus_predictor_circuit_open" in answer.read()
        workers = predictors.workers()
        predictors.process.send_signal(signal.SIGTERM)
        assert predictors.process.wait(WITHIN_S) == 0
        assert not [pid for pid in workers if psutil.pid_exists(pid)]


def test_a_killed_worker_is_replaced_while_the_other_answers(tmp_path: Path) -> None:
    """Promise: a worker that dies costs its share for a moment; another takes its place."""
    with started(tmp_path, 2) as predictors:
        [dies, stays] = sorted(predictors.workers())
        os.kill(dies, signal.SIGKILL)
        until(lambda: dies not in predictors.workers())
        assert predictors.ask_health() == health_pb2.HealthCheckResponse.NOT_SERVING
        until(lambda: len(predictors.listening()) == 2)
        assert stays in predictors.listening()


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_predictor_on_the_port_fails_and_says_what_to_do(tmp_path: Path, processes: int) -> None:
    """Promise: nobody takes half of the requests unseen, however many processes the second one has."""
    with started(tmp_path, 2) as predictors:
        second = environment(tmp_path / "second", predictors.port, processes)
        ended = subprocess.run(COMMAND, env=second, capture_output=True, timeout=WITHIN_S, check=False)
        assert ended.returncode == 1
        assert b"cannot be listened on (stop what listens there, or set HABITUS_PREDICTOR_ADDRESS)" in ended.stderr
        assert len(predictors.listening()) == 2


def test_no_worker_outlives_a_parent_that_was_killed(tmp_path: Path) -> None:
    """Promise: the port is free again, and nothing serves that nobody looks after."""
    with started(tmp_path, 2) as predictors:
        workers = predictors.workers()
        predictors.process.kill()
        until(lambda: not any(psutil.pid_exists(pid) for pid in workers))


def test_a_worker_that_can_never_run_ends_all_with_1(tmp_path: Path) -> None:
    """Promise: what a setting rules out is not tried again and again."""
    port = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        more = {"HABITUS_PREDICTOR_METRICS_PORT": str(taken.getsockname()[1])}
        ended = subprocess.run(
            COMMAND, env=environment(tmp_path, port, 2, **more), capture_output=True, timeout=WITHIN_S, check=False
        )
    assert ended.returncode == 1
    assert b"set HABITUS_PREDICTOR_METRICS_PORT to a free port" in ended.stderr
