"""The address of a predictor of several processes: theirs together, and nobody else's.

Place in the flow: the parent holds the address before it starts a worker and as long as it lives. Each worker listens on it with
SO_REUSEPORT, between which Linux shares out connections; that option would also let a second predictor in unseen, so the
parent first tries the address without it. What it holds is bound and listens never: no connection comes to it.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from runtime.errors import InfrastructureError, InvalidSetting

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # a name's address that this machine lacks, as ::1 where IPv6 is off


def cannot_listen(address: str) -> InfrastructureError:
    """The error of an address that is taken, or not ours."""
    remedy = "stop what listens there, or set HABITUS_PREDICTOR_ADDRESS"
    return InfrastructureError(f"{address} cannot be listened on", remedy=remedy)


@contextmanager
def held(address: str) -> Iterator[str]:
    """Hold `address`, on which nobody may listen yet; gives it with its port, which is a free one for port 0.

    Raises `InfrastructureError` if it cannot be listened on, `InvalidSetting` if it is no host:port.
    """
    host, port = _host_and_port(address)
    with ExitStack() as stack:
        try:
            number = _hold(stack, host.strip("[]"), port)
        except OSError as error:
            raise cannot_listen(address) from error
        yield f"{host}:{number}"


def _hold(stack: ExitStack, host: str, port: int) -> int:
    """Hold the port on every address of `host`, for as long as `stack`; returns it."""
    found = {(family, place[0]) for family, *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    failed: OSError | None = None
    number = 0
    for family, place in sorted(found):
        try:
            _try_alone(family, str(place), number or port)
            number = _bound(stack.enter_context(socket.socket(family)), str(place), number or port)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            failed = error
    if not number:
        raise failed or OSError(errno.EADDRNOTAVAIL, "no address")
    return number


def _try_alone(family: int, place: str, port: int) -> None:
    """Listen there for a moment as one who shares with nobody; connections that ended lately are not in the way."""
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((place, port))
        probe.listen()


def _bound(held_socket: socket.socket, place: str, port: int) -> int:
    """Bind, so that only who shares by SO_REUSEPORT may listen there: not who has SO_REUSEADDR alone, as a second predictor."""
    held_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held_socket.bind((place, port))
    held_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return int(held_socket.getsockname()[1])


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in address or not port.isdecimal():
        raise InvalidSetting(f"{address} is no host:port", remedy="set HABITUS_PREDICTOR_ADDRESS to one, or one process")
    return host, int(port)
