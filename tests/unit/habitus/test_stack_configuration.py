"""Promises about what supervisord is told."""

import configparser
import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from habitus.stack.configuration import configuration, write_order
from habitus.stack.home import Home
from habitus.stack.launch import __file__ as launcher_file
from habitus.stack.parts import Part

SOCKET = Path("run/supervisor.sock")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    created = Home.at(tmp_path / "it's 100% ; odd")
    created.create()
    return created


def sections(home: Home) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(configuration(home.run, SOCKET))
    return parser


def test_each_part_is_a_program_that_is_restarted_with_its_whole_group(home: Home) -> None:
    write_order(home, Part("kafka", ("java",), retries=4, stop_s=20, stays_up_s=2))
    program = sections(home)["program:kafka"]
    expected = {"autorestart": "true", "stopasgroup": "true", "killasgroup": "true", "autostart": "false"}
    assert {name: program[name] for name in expected} == expected
    assert (program["startretries"], program["stopwaitsecs"], program["startsecs"]) == ("4", "20", "2")


def test_nothing_in_it_depends_on_where_the_home_is(home: Home) -> None:
    write_order(home, Part("redis", ("redis-server",)))
    assert str(home.root) not in configuration(home.run, SOCKET)


def test_only_a_changed_part_changes_its_program(home: Home) -> None:
    """Promise: supervisord sees by the command whether a part is to be started otherwise than it runs."""
    write_order(home, Part("a", ("x",), env={"HABITUS_MONITOR_WINDOW": "1"}))
    write_order(home, Part("b", ("y",)))
    before = sections(home)
    write_order(home, Part("a", ("x",), env={"HABITUS_MONITOR_WINDOW": "2"}))
    after = sections(home)
    assert before["program:a"]["command"] != after["program:a"]["command"]
    assert before["program:b"] == after["program:b"]


def test_a_secret_in_a_part_s_environment_is_readable_by_its_owner_alone(home: Home) -> None:
    write_order(home, Part("a", ("x",), env={"HABITUS_KAFKA_SASL_PASSWORD": "hush"}))
    assert (home.run / "a.json").stat().st_mode & 0o077 == 0
    assert "hush" not in configuration(home.run, SOCKET)


def test_the_launcher_becomes_the_program_with_any_argument_and_value(home: Home) -> None:
    odd = 'it\'s "100%" ; $HOME'
    show = "import os, sys, json; print(json.dumps([sys.argv[1], os.environ['ODD'], os.environ['HABITUS_STACK_PART']]))"
    write_order(home, Part("odd", (sys.executable, "-c", show, odd), env={"ODD": odd}))
    command = shlex.split(sections(home)["program:odd"]["command"].replace("%%", "%"))
    told = subprocess.run(command, cwd=home.root, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == [odd, odd, "odd"]
    assert launcher_file in command
