"""How a long test says where it is."""

from collections.abc import Callable

Tell = Callable[[str], None]
