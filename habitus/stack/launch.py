"""The first instant of every process of the stack: read the launch order, become the program.

Run as a plain script (`python -I -S launch.py ORDER.json [--detach]`) on the standard library alone, so that it costs
milliseconds.
A launch order is JSON: `argv`, `env` (added to the environment), `tied` (end when the parent ends).

Why not let supervisord start the program itself: its configuration cannot express every path and value (quotes, `%`,
`;`), and a supervisord that is killed outright would leave its children behind.
"""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>: the signal that the kernel sends when the parent dies


def tie_to_parent() -> None:
    """Let the kernel send SIGTERM to this process when its parent dies. Linux only; elsewhere a later sweep does it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def main() -> None:
    """Become the program that the launch order names."""
    order = json.loads(Path(sys.argv[1]).read_bytes())
    if "--detach" in sys.argv and os.fork():
        os._exit(0)  # the child goes on, nobody's child, in the session that was made for it
    if order["tied"]:
        tie_to_parent()
    os.environ.update(order["env"])
    os.execvpe(order["argv"][0], order["argv"], os.environ)  # noqa: S606  no shell is wanted


if __name__ == "__main__":
    main()
