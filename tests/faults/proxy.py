"""A TCP proxy between a worker and a server: where it leads can be switched, and what passes can be waited for and held."""

import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread

from habitus.stack.ports import LOCALHOST

_CHUNK_BYTES = 4096  # small: a pipeline passes in several parts, so that something can happen between them
_ENDS_WITHIN_S = 5.0

Seen = Callable[[bytes], None]


def _unseen(part: bytes) -> None:
    """Nobody looks."""


class Proxy:
    """Leads whoever connects to `port` on to the `target` port.

    `before` sees each part of a request before it passes, `answered` each part of an answer after it has passed.
    """

    def __init__(self, target: int) -> None:
        self.before: Seen = _unseen
        self.answered: Seen = _unseen
        self._target = target
        self._lock = Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[Thread] = []
        self._listener = socket.create_server((LOCALHOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._start(self._accept)

    def lead_to(self, target: int) -> None:
        """Let new connections lead to `target`; those that are open stay."""
        self._target = target

    def cut(self) -> None:
        """End all connections."""
        with self._lock:
            for each in self._open:
                _end(each)

    def close(self) -> None:
        """Take no more connections and end all."""
        _end(self._listener)
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join(_ENDS_WITHIN_S)

    def _show_request(self, part: bytes) -> None:
        self.before(part)  # whoever looks now, not when the connection began

    def _show_answer(self, part: bytes) -> None:
        self.answered(part)

    def _start(self, work: Callable[[], None]) -> Thread:
        thread = Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        with suppress(OSError):  # the listener was closed
            while True:
                client, _ = self._listener.accept()
                self._start(lambda client=client: self._lead(client))

    def _lead(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection((LOCALHOST, self._target)) as server:
            with self._lock:
                self._open |= {client, server}
            try:
                answers = self._start(lambda: _pass(server, client, after=self._show_answer))
                _pass(client, server, before=self._show_request)
                answers.join()
            finally:
                with self._lock:
                    self._open -= {client, server}


class When:
    """Does something once: when, after parts that match the other `steps` in turn, one matching the last is about to pass."""

    def __init__(self, deed: Callable[[], object], *steps: re.Pattern[bytes]) -> None:
        self.began = Event()
        self.done = Event()
        self._deed = deed
        self._steps = list(steps)

    def __call__(self, part: bytes) -> None:
        if self._steps and self._steps[0].search(part):
            del self._steps[0]
            if not self._steps:
                self.began.set()
                self._deed()
                self.done.set()


@contextmanager
def proxy_to(target: int) -> Iterator[Proxy]:
    """A proxy that runs; closed in the end."""
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()


def _pass(source: socket.socket, sink: socket.socket, before: Seen = _unseen, after: Seen = _unseen) -> None:
    try:
        with suppress(OSError):  # either side was cut
            while part := source.recv(_CHUNK_BYTES):
                before(part)
                sink.sendall(part)
                after(part)
    finally:
        _end(source)
        _end(sink)


def _end(each: socket.socket) -> None:
    with suppress(OSError):  # it has ended already
        each.shutdown(socket.SHUT_RDWR)
