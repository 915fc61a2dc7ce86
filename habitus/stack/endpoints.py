"""Where the parts of a stack are reached: chosen ports, or addresses of the user's own servers; written to `stack.env`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from habitus.stack.home import Home, write_whole
from habitus.stack.ports import LOCALHOST
from runtime.errors import InvalidSetting

# The variable that names each part's address, and the address on localhost by port.
VARIABLES: Mapping[str, tuple[str, str]] = {
    "kafka": ("HABITUS_KAFKA_BOOTSTRAP", f"{LOCALHOST}:{{port}}"),
    "redis": ("HABITUS_REDIS_URL", f"redis://{LOCALHOST}:{{port}}/0"),
    "mlflow": ("HABITUS_MLFLOW_URI", f"http://{LOCALHOST}:{{port}}"),
    "predictor": ("HABITUS_PREDICTOR_ADDRESS", f"{LOCALHOST}:{{port}}"),
}
_CAN_BE_EXTERNAL = ("kafka", "redis", "mlflow")


@dataclass(frozen=True)
class Endpoints:
    """The address of each part that has one; `external` parts are the user's own and never started by us."""

    addresses: Mapping[str, str]
    external: frozenset[str] = frozenset()

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell every process these addresses."""
        return {VARIABLES[part][0]: address for part, address in self.addresses.items()}

    def write(self, home: Home) -> None:
        """Write `stack.env`; only its owner may read it, as an address may hold a password."""
        lines = (f"{name}={_quoted(value)}\n" for name, value in sorted(self.environment.items()))
        write_whole(home.stack_env, "# Written by `habitus up`; the environment overrides it.\n" + "".join(lines), 0o600)


def local_address(part: str, port: int) -> str:
    """The address of `part` on `port` of localhost."""
    return VARIABLES[part][1].format(port=port)


def external_addresses(remembered: Mapping[str, int], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The addresses that the environment sets for Kafka, Redis and MLflow, save where it only repeats ours."""
    named = {part: environ.get(VARIABLES[part][0], "") for part in _CAN_BE_EXTERNAL}
    ours = {part: local_address(part, port) for part, port in remembered.items() if part in VARIABLES}
    return {part: address for part, address in named.items() if address and address != ours.get(part)}


def own_predictor_address(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The address at which the environment wants our predictor to listen; empty if it does not say."""
    address = environ.get(VARIABLES["predictor"][0])
    return {"predictor": address} if address else {}


def port_of(address: str) -> int:
    """The port of `host:port`. Raises `InvalidSetting` if there is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise InvalidSetting(f"{address!r} is no host:port", remedy=f"set {VARIABLES['predictor'][0]} to one, or unset it")
    return int(port)


def _quoted(value: str) -> str:
    if not set(value) & set(" #\"'$\\"):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
