"""What the container stack promises; its schema is checked apart."""

from pathlib import Path

import yaml

COMPOSE = Path(__file__).resolve().parents[3] / "docker-compose.yml"


def test_redis_is_not_started_by_root() -> None:
    """Promise: also not by way of the shell that hands it the password."""
    assert yaml.safe_load(COMPOSE.read_text())["services"]["redis"]["user"] == "redis"
