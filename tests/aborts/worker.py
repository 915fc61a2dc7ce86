"""`python -m tests.aborts.worker BOUNDARY NTH GATE`: a stream worker that kills itself at a boundary.

It is the worker that `python -m streams` runs; it begins when somebody opens GATE, a named pipe: so that a process can be made
ready while the one before it still lives.
"""

import sys
from pathlib import Path
from typing import NoReturn

from streams import bootstrap
from tests.aborts.boundaries import ALL, Trap, set_into_acknowledgements, set_into_files, set_into_shelf


def main(at: str, nth: str, gate: str) -> NoReturn:
    """Run until the boundary `at` is passed the `nth` time."""
    assert at in ALL, at
    trap = Trap(at, int(nth))
    make_shelf = bootstrap.make_shelf
    bootstrap.make_shelf = lambda settings: set_into_shelf(trap, make_shelf(settings))
    set_into_files(trap)
    set_into_acknowledgements(trap)
    Path(gate).read_bytes()
    bootstrap.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
