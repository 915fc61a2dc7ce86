"""How long the long tests are: numbers from the environment, so that a short one can be tried."""

import os


def option(name: str, usual: int) -> int:
    """The number in the environment variable `name`, else `usual`."""
    return int(os.environ.get(name, usual))
