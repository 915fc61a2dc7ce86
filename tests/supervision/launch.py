"""A stream worker whose history has a fault, by its name: `python -m tests.supervision.launch hang`."""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from loguru import logger

from runtime.errors import HabitusError, Unavailable
from streams import app, bootstrap


def hang() -> None:
    """The write never returns."""
    logger.info("the fault is reached")
    threading.Event().wait()


def dawdle() -> None:
    """The write takes a second."""
    logger.info("the fault is reached")
    time.sleep(1)


def refuse() -> None:
    """The disk does not answer."""
    logger.info("the fault is reached")
    raise Unavailable("disk", "it does not answer")


def crash() -> None:
    """The worker cannot go on."""
    raise HabitusError("it is broken")


class Faulty:
    """A history whose writes meet `fault` first."""

    def __init__(self, history: Any, fault: Callable[[], None]) -> None:
        self._history = history
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        return getattr(self._history, name)

    def at(self, epoch: int) -> "Faulty":
        return Faulty(self._history.at(epoch), self._fault)

    def append(self, *arguments: Any) -> Any:
        self._fault()
        return self._history.append(*arguments)


def block_the_loop() -> None:
    """The event loop stands still at the first batch."""

    async def handle(*_: Any) -> None:
        logger.info("the fault is reached")
        threading.Event().wait()

    app._Path.handle = handle  # type: ignore[method-assign]


def main(name: str) -> None:
    """Run a worker with the fault `name`."""
    if name == "block":
        block_the_loop()
    else:
        fault, make_shelf = globals()[name], bootstrap.make_shelf

        def faulty(settings: Any) -> Any:
            shelf = make_shelf(settings)
            return replace(shelf, features=Faulty(shelf.features, fault))

        bootstrap.make_shelf = faulty
    bootstrap.run()


if __name__ == "__main__":
    main(sys.argv[1])
