"""A submission file that differs from the template in any way is said to, with line numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from abaw_pipeline.__main__ import main
from abaw_pipeline.errors import InputError
from abaw_pipeline.evaluation.submission import validate
from abaw_pipeline.evaluation.validate import read_template

ROWS = [f"a/{n:05d}.jpg,0.1,-0.25" for n in range(1, 9)] + [f"b_left/{n:05d}.jpg,-0,1" for n in range(1, 6)]
HEADER = "image_location,valence,arousal"
LINES = [HEADER, *ROWS]


@pytest.fixture
def template(tmp_path: Path) -> Path:
    path = tmp_path / "template.txt"
    path.write_text("\n".join([HEADER, *(row.split(",")[0] + ",," for row in ROWS)]) + "\n")
    return path


def problems_of(content: str | bytes, template: Path) -> list[str]:
    path = template.parent / "1.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return validate(path, template)


def text(lines: list[str], end: str = "\n") -> str:
    return end.join(lines) + end


def test_a_valid_file_has_no_problems(template: Path) -> None:
    assert problems_of(text(LINES), template) == []


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["image_location, valence, arousal", *ROWS], "line 1: expected the header"),
        (ROWS, "line 1: expected the header"),
        ([HEADER, ROWS[0] + ",1", *ROWS[1:]], "line 2: expected 3 fields, found 4"),
        ([HEADER, "", *ROWS], "line 2: blank line"),
        ([HEADER, ROWS[0].replace("0.1", "nan"), *ROWS[1:]], "line 2: valence is not finite"),
        ([HEADER, ROWS[0].replace("0.1", "-inf"), *ROWS[1:]], "line 2: valence is not finite"),
        ([HEADER, ROWS[0].replace("-0.25", "-1.0001"), *ROWS[1:]], "line 2: arousal -1.0001 is outside"),
        ([HEADER, ROWS[0].replace("-0.25", "-5"), *ROWS[1:]], "line 2: arousal -5 is outside"),
        ([HEADER, ROWS[0].replace("0.1", ""), *ROWS[1:]], "line 2: valence is not a number"),
        ([HEADER, ROWS[0].replace("0.1", "0.1_0"), *ROWS[1:]], "line 2: valence is not a number"),
        ([HEADER, ROWS[0] + " ", *ROWS[1:]], "line 2: blanks around a field"),
        ([*LINES, ROWS[3]], "line 15: a/00004.jpg stands on line 5 already"),
        ([*LINES, "c/00001.jpg,0,0"], "line 15: c/00001.jpg is not in the template"),
        ([HEADER, *ROWS[1:], ROWS[0]], "line 14: a/00001.jpg is out of order"),
        ([HEADER, *ROWS[:4], *ROWS[5:]], "trial a: 7 of 8 rows, a/00005.jpg is the first that is missing"),
        ([HEADER, *ROWS[:8]], "trial b_left: 0 of 5 rows"),
    ],
)
def test_each_fault_is_named(template: Path, lines: list[str], expected: str) -> None:
    problems = problems_of(text(lines), template)
    assert any(problem.startswith(expected) for problem in problems), problems


def test_encoding_and_line_ends(template: Path) -> None:
    assert "byte order mark" in problems_of(b"\xef\xbb\xbf" + text(LINES).encode(), template)[0]
    assert "13 in all" not in problems_of(text(LINES, "\r\n"), template)[0]
    assert problems_of(text(LINES, "\r\n"), template) == ["line 1: Windows line end (CRLF), 14 in all; use LF"]
    assert "zero bytes" in problems_of(text(LINES).encode("utf-16"), template)[0]
    assert problems_of(text(LINES[:3]).encode() + b"\xff\n", template)[0].startswith("line 4: not UTF-8")
    assert problems_of(text(LINES)[:-1], template) == ["line 14: no line end after the last row"]
    assert problems_of("", template)
    assert validate(template.parent / "absent.txt", template)[0].startswith("cannot be read")


def test_one_moved_row_is_not_a_flood_of_problems(template: Path) -> None:
    moved = [HEADER, ROWS[-1], *ROWS[:-1]]
    assert len(problems_of(text(moved), template)) == 1


@given(data=st.data())
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_single_change_of_a_row_is_noticed(template: Path, data: st.DataObject) -> None:
    lines = list(LINES)
    at = data.draw(st.integers(1, len(lines) - 1))
    change = data.draw(st.sampled_from(["delete", "double", "swap", "rename"]))
    if change == "delete":
        del lines[at]
    elif change == "double":
        lines.insert(at, lines[at])
    elif change == "swap":
        other = data.draw(st.integers(1, len(lines) - 1).filter(lambda place: place != at))
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines[at] = "x" + lines[at]
    assert problems_of(text(lines), template)


def test_the_command_shows_ten_problems_and_the_total(template: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = template.parent / "1.txt"
    path.write_text(text([HEADER, *(row.replace("0.1", "7").replace("-0,", "9,") for row in ROWS)]))
    assert main(["validate", str(path), "--template", str(template)]) == 1
    shown = capsys.readouterr().out
    assert "13 problems" in shown and shown.count("outside") == 10 and "3 more" in shown
    path.write_text(text(LINES))
    assert main(["validate", str(path), "--template", str(template)]) == 0
    assert "valid" in capsys.readouterr().out


def test_without_a_template_only_the_format_is_checked(template: Path) -> None:
    path = template.parent / "1.txt"
    path.write_text(text([HEADER, ROWS[3], ROWS[1]]))
    assert validate(path, None) == []
    path.write_text(text([HEADER, ROWS[3], ROWS[3]]))
    assert "already" in validate(path, None)[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("location\n", "line 1: expected the header"),
        (f"{HEADER}\na/1x.jpg,,\n", "line 2: 'a/1x.jpg' is not like"),
        (f"{HEADER}\na/00000.jpg,,\n", "line 2"),
        (f"{HEADER}\na/00001.jpg,,\na/00001.jpg,,\n", "line 3: .* stands on line 2"),
        (f"{HEADER}\n", "no rows"),
    ],
)
def test_a_bad_template_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "template.txt").write_text(content)
    with pytest.raises(InputError, match=words):
        read_template(tmp_path / "template.txt")
