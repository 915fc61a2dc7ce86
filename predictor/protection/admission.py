"""How many calls are worked on at once; one more is refused before it waits anywhere.

Place in the flow: the edge enters before it hands a call to the core and leaves when it has answered, however that ended.
"""

from datetime import timedelta

from runtime.errors import Overloaded

# What is at the limit drains within a few answers; callers that come back together would find it full again, so not at once.
RETRY_AFTER = timedelta(milliseconds=100)


class Admission:
    """`limit` places; used on one event loop."""

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._error = f"{limit} {what} are worked on already"
        self.inside = 0

    @property
    def full(self) -> bool:
        """Whether `enter` would refuse now."""
        return self.inside >= self._limit

    def enter(self) -> None:
        """Take a place, to be given back by `leave`. Raises `Overloaded` if there is none."""
        if self.inside >= self._limit:
            raise self.refusal()
        self.inside += 1

    def leave(self) -> None:
        """Give a place back."""
        self.inside -= 1

    def refusal(self) -> Overloaded:
        """The error of finding no place."""
        return Overloaded(self._error, retry_after=RETRY_AFTER)
