"""A port for a server of one test."""

import socket

from habitus.stack.ports import LOCALHOST


def free_port() -> int:
    """A port of localhost on which nobody listens now."""
    with socket.socket() as trial:
        trial.bind((LOCALHOST, 0))
        return int(trial.getsockname()[1])
