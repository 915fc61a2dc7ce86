"""What supervisord is told: its configuration, and for each part a launch order (`run/<name>.json`).

Every path is relative to the home folder, where supervisord and all parts run: so a home may have any name.
"""

import hashlib
import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from habitus.stack import launch
from habitus.stack.home import Home, write_whole
from habitus.stack.parts import Part
from habitus.stack.survivors import HOME_MARK, PART_MARK
from runtime.settings import checkout

_HEAD = """\
[unix_http_server]
file = {socket}
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
startretries = {retries}
stopwaitsecs = {stop_s}
stopasgroup = true
killasgroup = true
redirect_stderr = true
stdout_logfile = logs/{name}.log
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
"""


def launcher(order: str, *arguments: str) -> list[str]:
    """The command that carries out the launch order in the file `order`, a path relative to the home folder."""
    return [sys.executable, "-I", "-S", launch.__file__, order, *arguments]


def write_supervisor_order(home: Home, *, tied: bool) -> str:
    """Write supervisord's own launch order; returns its path, relative to the home folder."""
    argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", "run/supervisord.conf"]
    order = {"argv": argv, "env": {HOME_MARK: str(home.root)}, "tied": tied}
    write_whole(home.run / "supervisord.order", json.dumps(order), 0o600)
    return "run/supervisord.order"


def write_order(home: Home, part: Part) -> None:
    """Write the launch order of `part`; only its owner may read it, as its environment may hold a password."""
    order = {"argv": part.argv, "env": environment(home, part), "tied": True}
    watched = {"stays_up_s": part.stays_up_s, "retries": part.retries, "stop_s": part.stop_s}
    write_whole(home.run / f"{part.name}.json", json.dumps(order | {"watched": watched}, sort_keys=True), 0o600)


def write_configuration(home: Home, socket: Path) -> None:
    """Write supervisord's configuration for the launch orders that there are."""
    write_whole(home.run / "supervisord.conf", configuration(home.run, socket))


def configuration(run: Path, socket: Path) -> str:
    """Supervisord's configuration for the launch orders in `run`. A changed order changes its part's command."""
    sections = [_HEAD.format(socket=_escaped(str(socket)))]
    for path in sorted(run.glob("*.json")):
        text = path.read_bytes()
        command = shlex.join(launcher(f"run/{path.name}", hashlib.sha256(text).hexdigest()[:16]))
        sections.append(_PROGRAM.format(name=path.stem, command=_escaped(command), **json.loads(text)["watched"]))
    return "".join(sections)


def environment(home: Home, part: Part) -> Mapping[str, str]:
    """The part's own variables, its marks, and the way to our packages where they are not installed."""
    root = checkout()
    packages = {"PYTHONPATH": os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))} if root else {}
    return {**packages, **part.env, HOME_MARK: str(home.root), PART_MARK: part.name}


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
