"""Metrics for Prometheus: one registry a process, served on a port of its own.

Place in the flow: a service makes its registry and its metrics, `bootstrap` serves them where a port is set. No process serves
without one: a port is somebody's decision.
"""

from loguru import logger
from prometheus_client import CollectorRegistry, Gauge, PlatformCollector, ProcessCollector, start_http_server

from runtime.errors import InvalidSetting


def new_registry(service: str, version: str) -> CollectorRegistry:
    """A registry that already tells the process's memory, CPU and files, and what was built: `habitus_build_info`."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    info = Gauge("habitus_build_info", "1, labelled with what runs here", ["service", "version"], registry=registry)
    info.labels(service, version).set(1)
    return registry


def serve(registry: CollectorRegistry, host: str, port: int, setting: str) -> None:
    """Answer `GET /metrics` on `host`:`port` from a thread; nothing for port 0. Raises `InvalidSetting` naming `setting`."""
    if port == 0:
        return
    try:
        start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise InvalidSetting(
            f"no metrics can be served on {host}:{port} ({error})", remedy=f"set {setting} to a free port"
        ) from error
    logger.info("metrics at http://{}:{}/metrics", host, port)
