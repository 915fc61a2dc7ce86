"""`habitus token new` shows a token once, and the line by which it is known."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from habitus.cli import app
from predictor.protection.tokens import Tokens
from runtime.errors import InvalidSetting


def test_the_line_that_is_shown_lets_the_token_in(tmp_path: Path):
    result = CliRunner().invoke(app, ["token", "new", "reporting", "--json"])
    made = json.loads(result.output)
    assert result.exit_code == 0
    (tmp_path / "tokens").write_text(made["line"])
    assert Tokens(tmp_path / "tokens").name_of(made["token"]) == "reporting"
    assert made["token"] not in made["line"]


def test_people_are_told_what_to_do_with_both():
    result = CliRunner().invoke(app, ["token", "new", "reporting"])
    assert "line   reporting:sha256:" in result.output
    assert "HABITUS_PREDICTOR_TOKENS_FILE" in result.output
    assert "authorization: Bearer" in result.output


def test_a_name_that_breaks_the_line_is_refused():
    result = CliRunner().invoke(app, ["token", "new", "a:b"])
    assert isinstance(result.exception, InvalidSetting)
    with pytest.raises(InvalidSetting):
        raise result.exception
