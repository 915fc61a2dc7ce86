"""supervisord: starts, watches and restarts the parts of one home; spoken to over a Unix socket.

Place in the flow: `lifecycle` hands parts in; a part becomes a launch order (`run/<name>.json`) and a section of
supervisord's configuration. Every path in it is relative to the home folder, where supervisord and all parts run.
"""

import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from habitus.stack import launch
from habitus.stack.home import Home, write_whole
from habitus.stack.parts import Part
from habitus.stack.survivors import HOME_MARK, PART_MARK
from runtime.errors import HabitusError, Unavailable
from runtime.settings import checkout

ALIVE = frozenset({"starting", "running", "backoff"})
_SOCKET = Path("run/supervisor.sock")
_SOCKET_PATH_LIMIT = 100  # the system's limit is 104 (macOS) or 108 (Linux) bytes
_START_TIMEOUT_S = 20
_WITHOUT_WAITING = False
_LOOK_EVERY_S = 0.05

_HEAD = """\
[unix_http_server]
file = run/supervisor.sock
chmod = 0700
[supervisord]
nodaemon = true
silent = true
pidfile = run/supervisord.pid
logfile = logs/supervisord.log
logfile_maxbytes = 5MB
logfile_backups = 1
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""

# Killing the group: MLflow's workers are children of their own. Retries back off by a second more each time.
_PROGRAM = """\
[program:{name}]
command = {command}
autostart = false
autorestart = true
startsecs = {stays_up_s}
startretries = 5
stopwaitsecs = {stop_s}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
"""


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord tells of one part; `state` is its word in lower case, `pid` 0 where nothing runs."""

    name: str
    state: str
    pid: int


class Supervisor:
    """The supervisord of `home`, running or not."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None

    def is_running(self) -> bool:
        """Whether a supervisord answers for this home."""
        try:
            self._call("getState")
        except Unavailable:
            return False
        return True

    def launch(self, *, tied: bool) -> None:
        """Start supervisord in a session of its own; nothing of this home may run. Raises `HabitusError`.

        With `tied` it ends, and ends its parts, when the thread that calls this dies (Linux).
        """
        for leftover in (*self.home.run.glob("*.json"), self.home.root / _SOCKET):
            leftover.unlink(missing_ok=True)
        self._write_configuration()
        order = self.home.run / "supervisord.order"
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", "run/supervisord.conf"]
        write_whole(order, json.dumps({"argv": argv, "env": {HOME_MARK: str(self.home.root)}, "tied": tied}), 0o600)
        with (self.home.logs / "supervisord.out").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", launch.__file__, str(order), *([] if tied else ["--detach"])],
                cwd=self.home.root,
                env={name: value for name, value in os.environ.items() if not name.startswith("HABITUS_")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if not tied:
            self._process.wait()  # the detached one goes on
        self._await_launch()

    def _await_launch(self) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not self.is_running():
            if time.monotonic() > deadline:
                raise HabitusError("supervisord did not start", remedy=f"see {self.home.logs / 'supervisord.out'}")
            time.sleep(_LOOK_EVERY_S)

    def install(self, parts: Iterable[Part]) -> None:
        """Make `parts` known; what is known already and unchanged stays as it is, what changed is stopped."""
        for part in parts:
            order = {"argv": part.argv, "env": _environment(self.home, part), "tied": True}
            timing = {"stays_up_s": part.stays_up_s, "stop_s": part.stop_s}
            write_whole(self.home.run / f"{part.name}.json", json.dumps(order | timing, sort_keys=True), 0o600)
        self._write_configuration()
        added, changed, _removed = self._call("reloadConfig")[0]
        for name in changed:
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)

    def start(self, name: str) -> bool:
        """Start a part without waiting for it; False if it was already alive."""
        if self.states()[name].state in ALIVE:
            return False
        with contextlib.suppress(Fault):  # it came up, or failed, meanwhile: `states` tells
            self._call("startProcess", name, _WITHOUT_WAITING)
        return True

    def stop(self, name: str) -> None:
        """Stop a part and wait for its end."""
        with contextlib.suppress(Fault):  # it was not running
            self._call("stopProcess", name)

    def states(self) -> dict[str, ProcessInfo]:
        """Every part that supervisord knows; empty if it does not run."""
        try:
            found = self._call("getAllProcessInfo")
        except Unavailable:
            return {}
        return {each["name"]: ProcessInfo(each["name"], each["statename"].lower(), each["pid"]) for each in found}

    def shut_down(self) -> bool:
        """Ask supervisord to stop every part and end; returns at once, False if none was there to be asked."""
        try:
            return bool(self._call("shutdown"))
        except Unavailable:
            return False

    def reap(self) -> None:
        """Take leave of a tied supervisord that has ended."""
        if self._process is not None:
            self._process.wait()

    def _write_configuration(self) -> None:
        write_whole(self.home.run / "supervisord.conf", configuration(self.home.run))

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import Faults, SupervisorTransport

        try:
            with (
                _reachable(self.home.root / _SOCKET) as path,
                ServerProxy("http://localhost", SupervisorTransport(serverurl=f"unix://{path}")) as server,
            ):
                return getattr(server.supervisor, method)(*arguments)
        except Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise Unavailable("supervisord", "it is stopping") from fault
            raise
        except OSError as error:
            raise Unavailable("supervisord", f"no answer at {self.home.root / _SOCKET} ({error})") from error


def configuration(run: Path) -> str:
    """Supervisord's configuration for the launch orders in `run`. A changed order changes its part's command."""
    sections = [_HEAD]
    for order in sorted(run.glob("*.json")):
        text = order.read_bytes()
        wanted = json.loads(text)
        digest = hashlib.sha256(text).hexdigest()[:16]
        command = shlex.join([sys.executable, "-I", "-S", launch.__file__, f"run/{order.name}", digest])
        sections.append(
            _PROGRAM.format(
                name=order.stem,
                command=command.replace("%", "%%"),
                stays_up_s=wanted["stays_up_s"],
                stop_s=wanted["stop_s"],
            )
        )
    return "".join(sections)


def _environment(home: Home, part: Part) -> Mapping[str, str]:
    """The part's own variables, its marks, and the way to our packages where they are not installed."""
    root = checkout()
    packages = {"PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))} if root else {}
    return {**packages, **part.env, HOME_MARK: str(home.root), PART_MARK: part.name}


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[Path]:
    """A name for the socket at `path` that fits the system's limit, however deep the home is."""
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT:
        yield path
        return
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        raise HabitusError(f"{path} is too long for a socket", remedy="set HABITUS_HOME to a shorter path")
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        yield descriptors / str(folder) / path.name
    finally:
        os.close(folder)
