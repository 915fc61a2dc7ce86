"""What a log never shows, at any level: the values of variables, where a secret may be."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from runtime.settings import Settings

_CRASH = """
import logging
from loguru import logger
from runtime.logs import configure_logs
from runtime.settings import Settings

def connect(password):
    raise ValueError("refused") from KeyError(len(password))

settings = Settings(kafka_security_protocol="SASL_SSL", kafka_sasl_username="me", kafka_sasl_password="open" + "sesame")
configure_logs("streams", settings)
try:
    connect(settings.kafka_sasl_password.get_secret_value())
except ValueError:
    logger.exception("ours")
    logging.getLogger("mode").exception("a library's")
logger.debug("{}", settings)
connect(settings.kafka_sasl_password.get_secret_value())
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_shows_where_it_happened_and_no_values(log_format: str, tmp_path: Path) -> None:
    """Promise: loguru would print every variable beside its line, and a password among them."""
    environ = {"HABITUS_LOG_FORMAT": log_format, "HABITUS_LOG_LEVEL": "TRACE", "HABITUS_HOME": str(tmp_path)}
    script = tmp_path / "crash.py"  # a file: of what has no source, loguru shows no variables anyway
    script.write_text(_CRASH)
    path = {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run([sys.executable, script], env=environ | path, capture_output=True, text=True, check=False)
    assert ended.stderr.count("ValueError: refused") >= 3
    assert "opensesame" not in ended.stdout + ended.stderr


def test_settings_in_a_message_of_another_library_are_masked() -> None:
    settings = Settings(redis_url="redis://:opensesame@host/0")
    record = logging.LogRecord("x", logging.INFO, "x", 1, "%s %r", (settings, settings), None)
    assert "opensesame" not in record.getMessage()
