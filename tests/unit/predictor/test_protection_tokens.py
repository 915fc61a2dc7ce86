"""Tokens are known by their hashes alone, and the file may change while it is used."""

import os
from pathlib import Path
from typing import Any

import pytest

from predictor.protection.tokens import LOOK_S, TOKEN_LIMIT, Tokens, line_of, new_token, parse
from runtime.errors import InvalidSetting, NotPermitted


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def write(path: Path, *lines: str) -> None:
    """Replace the file as an editor does, so that it is another one at once."""
    fresh = path.with_suffix(".new")
    fresh.write_text("".join(f"{line}\n" for line in lines))
    os.replace(fresh, path)  # noqa: PTH105


def test_a_token_is_known_by_its_line_and_no_other(tmp_path: Path):
    path, mine, other = tmp_path / "tokens", new_token(), new_token()
    write(path, "# clients", "", line_of("mine", mine), line_of("other", other))
    tokens = Tokens(path)
    assert (tokens.name_of(mine), tokens.name_of(other)) == ("mine", "other")
    for wrong in ("", new_token(), mine[:-1], mine + "A", line_of("mine", mine).rpartition(":")[2], "ü", "x" * (TOKEN_LIMIT + 1)):
        with pytest.raises(NotPermitted):
            tokens.name_of(wrong)


def test_the_file_never_holds_a_token():
    token = new_token()
    assert token not in line_of("mine", token)
    assert len({new_token() for _ in range(100)}) == 100


def test_digests_that_begin_alike_are_not_taken_for_each_other(tmp_path: Path):
    path, token = tmp_path / "tokens", new_token()
    line = line_of("mine", token)
    write(path, line[:-1] + ("0" if line[-1] != "0" else "1"))
    with pytest.raises(NotPermitted):
        Tokens(path).name_of(token)


def test_a_changed_file_counts_after_the_next_look(tmp_path: Path, seconds: Seconds):
    path, first, second = tmp_path / "tokens", new_token(), new_token()
    write(path, line_of("first", first))
    tokens = Tokens(path, monotonic=seconds)
    write(path, line_of("second", second))
    assert tokens.name_of(first) == "first"
    seconds.at = LOOK_S
    assert tokens.name_of(second) == "second"
    with pytest.raises(NotPermitted):
        tokens.name_of(first)


@pytest.mark.parametrize("broken", ["nonsense", None])
def test_a_file_that_became_unreadable_leaves_the_tokens_as_they_were(tmp_path: Path, seconds: Seconds, broken: Any):
    path, token = tmp_path / "tokens", new_token()
    write(path, line_of("mine", token))
    tokens = Tokens(path, monotonic=seconds)
    path.unlink()
    if broken is not None:
        write(path, broken)
    seconds.at = LOOK_S
    assert tokens.name_of(token) == "mine"


def test_an_emptied_file_lets_nobody_in(tmp_path: Path, seconds: Seconds):
    path, token = tmp_path / "tokens", new_token()
    write(path, line_of("mine", token))
    tokens = Tokens(path, monotonic=seconds)
    write(path)
    seconds.at = LOOK_S
    with pytest.raises(NotPermitted):
        tokens.name_of(token)


@pytest.mark.parametrize(
    "line", ["mine", "mine:sha256", "mine:md5:" + "0" * 64, "mine:sha256:" + "0" * 63, "a b:sha256:" + "0" * 64]
)
def test_a_malformed_line_is_named_and_never_shown(line: str):
    with pytest.raises(InvalidSetting) as caught:
        parse(f"# one\n{line}\n")
    assert "line 2" in str(caught.value)
    assert line not in str(caught.value)
    assert "HABITUS_PREDICTOR_TOKENS_FILE" in caught.value.remedy


def test_a_start_without_a_token_is_refused(tmp_path: Path):
    with pytest.raises(InvalidSetting, match="cannot be read"):
        Tokens(tmp_path / "absent")
    write(tmp_path / "empty", "# nobody yet")
    with pytest.raises(InvalidSetting, match="holds no token"):
        Tokens(tmp_path / "empty")


def test_a_name_must_fit_into_a_line():
    with pytest.raises(InvalidSetting):
        line_of("a:b", new_token())
