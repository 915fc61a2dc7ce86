"""Promises about exit codes and what is said on standard error."""

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from habitus.cli import wrong_settings
from runtime.settings import Settings, checkout


def habitus(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {"PYTHONPATH": str(checkout()), **environment}
    return subprocess.run([sys.executable, "-m", "habitus", *arguments], env=env, capture_output=True, text=True, check=False)


def test_an_expected_failure_exits_1_and_says_what_to_do(tmp_path: Path) -> None:
    ended = habitus("logs", HABITUS_HOME=str(tmp_path))
    assert ended.returncode == 1
    assert ended.stderr == f"error: there is no log in {tmp_path / 'logs'}\nremedy: `habitus up` starts the stack\n"


def test_a_wrong_setting_exits_2_and_names_its_variable_and_not_its_value(tmp_path: Path) -> None:
    ended = habitus("up", "--only", "streams", HABITUS_HOME=str(tmp_path / "home"), HABITUS_PARTITIONS="hush")
    assert ended.returncode == 2
    assert "HABITUS_PARTITIONS" in ended.stderr
    assert "hush" not in ended.stderr
    assert not (tmp_path / "home").exists()


def test_wrong_usage_exits_2() -> None:
    assert habitus("up", "--only", "kafka,nonsense").returncode == 2
    assert habitus("no-such-command").returncode == 2


@pytest.mark.parametrize("url", ["localhost:6379", "redis://:open#sesame@localhost:6379/0"])
def test_a_wrong_redis_url_is_wrong_usage_and_is_not_shown(tmp_path: Path, url: str) -> None:
    ended = habitus("status", HABITUS_HOME=str(tmp_path), HABITUS_REDIS_URL=url)
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: HABITUS_REDIS_URL: not redis://host:port/db")
    assert "open" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_message_on_a_wrong_setting_names_the_variable() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(partitions=0)
    message, remedy = wrong_settings(caught.value)
    assert message.startswith("HABITUS_PARTITIONS: ")
    assert "HABITUS_PARTITIONS" in remedy
