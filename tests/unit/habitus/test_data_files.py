"""Rows from files: all three formats give the same rows; what cannot be read is named with its line."""

from pathlib import Path

import pandas as pd
import pytest

from habitus.data.columns import TIME
from habitus.data.files import UnreadableFile, read_rows, write_rows
from habitus.data.identity import Stretch
from habitus.data.messages import Plan, ReplayOptions
from habitus.data.simulator import simulate

STRETCH = Stretch.named("history")
CSV = "id,Gender,Age,Weight\n7,Male,24.443011,81.66995\n8,Female,,fat\n"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_rows_written_in_any_format_become_the_same_messages(tmp_path: Path, ending: str) -> None:
    rows = simulate(60, stretch=STRETCH)
    write_rows(rows, tmp_path / f"rows{ending}")
    plan = Plan(read_rows(tmp_path / f"rows{ending}"), ReplayOptions("rows"), now=STRETCH.end)
    assert list(plan) == list(Plan(rows, ReplayOptions("rows"), now=STRETCH.end))


def test_a_csv_cell_that_is_no_number_stays_the_text_it_was_and_an_empty_one_is_missing(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(CSV)
    rows = read_rows(tmp_path / "rows.csv")
    assert rows["Weight"].tolist() == [81.66995, "fat"]
    assert rows["Age"].isna().tolist() == [False, True]
    assert rows["id"].tolist() == ["7", "8"]


def test_a_byte_order_mark_and_empty_lines_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("\ufeff" + CSV.replace("\n", "\r\n") + "\r\n")
    assert list(read_rows(tmp_path / "rows.csv").columns) == ["id", "Gender", "Age", "Weight"]


def test_odd_json_values_come_through_unchanged(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"person_id": 5, "age_years": [1]}\n\n{"person_id": "a", "smokes": true}\n')
    plan = Plan(read_rows(tmp_path / "rows.jsonl"), ReplayOptions("rows", shuffle=None), now=STRETCH.end)
    assert {message.key for message in plan} == {b"5", b"a"}


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "a,b\n1,2\n3\n", "line 3: 1 cells where the header names 2"),
        ("b.csv", "a,b\n", "holds no rows"),
        ("c.csv", "", "holds no rows"),
        ("d.csv", 'a,b\n1,"2\n', "line "),
        ("e.jsonl", '{"a": 1}\n{"a": \n', "line 2: not JSON"),
        ("f.jsonl", '{"a": 1}\n[1]\n', "line 2: not a JSON object"),
        ("g.parquet", "PAR1 or so", "not a Parquet file"),
        ("h.xlsx", "", "unknown kind of file"),
    ],
)
def test_an_unreadable_file_is_named_with_its_line(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UnreadableFile, match=sentence) as unreadable:
        read_rows(tmp_path / name)
    assert name in str(unreadable.value)
    assert unreadable.value.remedy


def test_text_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"a\n\xff\xfe\n")
    with pytest.raises(UnreadableFile, match="UTF-8"):
        read_rows(tmp_path / "rows.csv")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="no such file"):
        read_rows(tmp_path / "rows.csv")


def test_a_format_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="unknown kind"):
        write_rows(pd.DataFrame({"a": [1]}), tmp_path / "rows.txt")


def test_times_are_written_to_the_millisecond_in_utc(tmp_path: Path) -> None:
    write_rows(pd.DataFrame({TIME: pd.to_datetime(["2024-12-01T13:00:00.1234+01:00"])}), tmp_path / "rows.csv")
    assert read_rows(tmp_path / "rows.csv")[TIME].tolist() == ["2024-12-01T12:00:00.123Z"]
