"""Promises about reading logs."""

from collections.abc import Iterator
from pathlib import Path

from habitus.stack.logfiles import Line, follow, last_lines


def test_the_last_lines_come_part_by_part_and_a_missing_log_has_none(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("1\n2\n3\n")
    (tmp_path / "b.log").write_bytes(b"\xff4")
    files = {name: tmp_path / f"{name}.log" for name in "abc"}
    assert list(last_lines(files, 2)) == [Line("a", "2"), Line("a", "3"), Line("b", "�4")]
    assert list(last_lines(files, 0)) == []


def test_following_shows_whole_new_lines_through_rotation(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("old\n")
    news: Iterator[Line] = follow({"a": log, "later": tmp_path / "later.log"}, pause=lambda: next(steps))

    def writing() -> Iterator[None]:
        yield append(log, "fir")
        yield append(log, "st\n")
        log.rename(tmp_path / "a.log.1")
        yield append(log, "second\n")
        yield append(tmp_path / "later.log", "third\n")

    steps = writing()
    assert [next(news) for _ in range(3)] == [Line("a", "first"), Line("a", "second"), Line("later", "third")]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)
