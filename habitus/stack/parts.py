"""What a part of the stack is: a process, where it answers, and how one sees that it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

INFRASTRUCTURE = ("kafka", "redis", "mlflow")
SERVICES = ("streams", "trainer", "predictor", "monitor")
ALL_PARTS = INFRASTRUCTURE + SERVICES


def always() -> bool:
    """The probe of a part that is ready once it runs and listens."""
    return True


@dataclass(frozen=True)
class Part:
    """One supervised process. `answers` is quick (under a second) and never raises."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    port: int | None = None  # on which the process itself must listen: somebody else's server there is no success
    answers: Callable[[], bool] = always
    stays_up_s: int = 1  # a process that ends sooner counts as failed to start
    retries: int = 2  # failed starts after which it is given up
    stop_s: int = 10  # a process that takes longer to stop is killed
