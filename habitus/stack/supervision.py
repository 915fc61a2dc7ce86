"""supervisord: starts, watches and restarts the parts of one home; spoken to over a Unix socket.

Place in the flow: `lifecycle` hands parts in, `configuration` puts them into supervisord's words.
"""

import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from habitus.stack.configuration import launcher, write_configuration, write_order, write_supervisor_order
from habitus.stack.home import Home, write_whole
from habitus.stack.parts import Part
from runtime.errors import HabitusError, Unavailable

ALIVE = frozenset({"starting", "running", "backoff"})
_SOCKET_PATH_LIMIT = 90  # the system's limit is 104 (macOS) or 108 (Linux) bytes; supervisord adds its pid at first
_START_TIMEOUT_S = 20
_WITHOUT_WAITING = False
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True)
class ProcessInfo:
    """What supervisord tells of one part; `state` is its word in lower case, `pid` 0 where nothing runs."""

    name: str
    state: str
    pid: int


class Supervisor:
    """The supervisord of `home`, running or not. Raises `HabitusError` where the packages of the local stack are missing."""

    def __init__(self, home: Home) -> None:
        if importlib.util.find_spec("supervisor") is None:
            raise HabitusError("the packages of the local stack are not installed", remedy="pip install 'habitus[local]'")
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
        for leftover in self.home.run.glob("*.json"):
            leftover.unlink()
        self._forget_socket()
        write_whole(self._socket_note, str(_control_socket(self.home.run)))
        write_configuration(self.home, self._socket())
        order = write_supervisor_order(self.home, tied=tied)
        with (self.home.logs / "supervisord.out").open("ab") as output:
            self._process = subprocess.Popen(
                launcher(order, *([] if tied else ["--detach"])),
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
            write_order(self.home, part)
        write_configuration(self.home, self._socket())
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

    def stop(self, *names: str) -> None:
        """Stop parts, all at once, and wait for their end; supervisord kills those that take too long."""
        for name in names:
            with contextlib.suppress(Fault, Unavailable):  # it was not running
                self._call("stopProcess", name, _WITHOUT_WAITING)
        while any(each.state in ALIVE | {"stopping"} for name, each in self.states().items() if name in names):
            time.sleep(_LOOK_EVERY_S)

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

    def take_leave(self) -> None:
        """Clear up after a supervisord that has ended."""
        if self._process is not None:
            self._process.wait()
        self._forget_socket()

    @property
    def _socket_note(self) -> Path:
        return self.home.run / "socket"

    def _socket(self) -> Path:
        """Where supervisord listens: relative to the home, or absolute where the home is too deep for a socket."""
        return Path(self._socket_note.read_text())

    def _forget_socket(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if (socket := self._socket()).is_absolute():
                shutil.rmtree(socket.parent, ignore_errors=True)
            self._socket_note.unlink()

    def _call(self, method: str, *arguments: Any) -> Any:
        from supervisor.xmlrpc import Faults, SupervisorTransport

        try:
            transport = SupervisorTransport(serverurl=f"unix://{self.home.root / self._socket()}")
            with ServerProxy("http://localhost", transport) as server:
                return getattr(server.supervisor, method)(*arguments)
        except Fault as fault:
            if fault.faultCode == Faults.SHUTDOWN_STATE:
                raise Unavailable("supervisord", "it is stopping") from fault
            raise
        except OSError as error:
            raise Unavailable("supervisord", f"none answers for {self.home.root} ({error})") from error


def _control_socket(run: Path) -> Path:
    """A path for the socket, in `run` if that is not too deep, else in a temporary folder of this user alone."""
    near = Path("run/supervisor.sock")
    whole = run.parent / near
    if len(os.fsencode(whole)) <= _SOCKET_PATH_LIMIT:
        whole.unlink(missing_ok=True)
        return near
    return Path(tempfile.mkdtemp(prefix="habitus-")) / near.name
