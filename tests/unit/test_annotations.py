"""Annotation files and the submission template: what is read, and what is refused with file, line and remedy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.corpus.annotations import read_annotation, report_rows
from abaw_pipeline.corpus.template import read_template, template_frames
from abaw_pipeline.errors import InputError


def annotation(folder: Path, content: str | bytes) -> Path:
    path = folder / "trial.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_values_are_those_of_all_rows_and_kept_indexes_them(tmp_path):
    values, kept = read_annotation(annotation(tmp_path, "valence,arousal\n0.1,-0.2\n-5,-5\n0.3,-5\n-1,1\n"))
    assert values.dtype == np.float32
    assert kept.dtype == np.int64
    np.testing.assert_array_equal(values, np.array([[0.1, -0.2], [-5, -5], [0.3, -5], [-1, 1]], np.float32))
    assert kept.tolist() == [0, 3]


def test_the_report_keeps_a_row_with_a_single_minus_five(tmp_path):
    values, _ = read_annotation(annotation(tmp_path, "valence,arousal\n-5,-5\n0.3,-5\n-5,-1\n0,0\n"))
    assert report_rows(values).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        b"valence,arousal\r\n0.5,0.25\r\n-5,-5\r\n",
        b"\xef\xbb\xbfvalence,arousal\n0.5,0.25\n-5,-5\n",
        b"valence,arousal\n0.5,0.25\n-5,-5",
        b"valence,arousal\n0.5,0.25\n-5,-5\n\n\n",
        b"valence, arousal\n 0.5 , 2.5e-1\n-5.0,-5\n",
        b"Valence,Arousal\n+.5,0.25\n-5,-5\n",
    ],
    ids=["CRLF", "BOM", "no final newline", "blank lines at the end", "spaces and exponents", "capitals and a plus"],
)
def test_harmless_variants_are_read(tmp_path, content):
    values, kept = read_annotation(annotation(tmp_path, content))
    assert values.tolist() == [[0.5, 0.25], [-5, -5]]
    assert kept.tolist() == [0]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ("", 1, "expected the header"),
        ("arousal,valence\n0,0\n", 1, "expected the header"),
        ("0.1,0.2\n0,0\n", 1, "expected the header"),
        ("valence,arousal\n", None, "no row"),
        ("valence,arousal\n0,0\n0,zero\n", 3, "'zero' is not a number"),
        ("valence,arousal\n0,0\n0,\n", 3, "'' is not a number"),
        ("valence,arousal\n0,0\n0,0,0\n", 3, "expected 2 columns, found 3"),
        ("valence,arousal\n0,0,0\n0,0,0\n", 2, "expected 2 columns, found 3"),
        ("valence,arousal\n0,0\n0.5\n", 3, "expected 2 columns, found 1"),
        ("valence,arousal\n0,0\n\n0,0\n", 3, "blank"),
        ("valence,arousal\n0,0\n0,nan\n", 3, "within"),
        ("valence,arousal\n0,0\n0,inf\n", 3, "within"),
        ("valence,arousal\n0,0\n0,1.001\n", 3, "within"),
        ("valence,arousal\n0,0\n-4.9,0\n", 3, "within"),
        ("valence,arousal\n0,0\n1_0,0\n", 3, "is not a number"),
        ("valence,arousal\n0,0\n# 0,0\n", 3, "is not a number"),
        (b"valence,arousal\n0,\xff\n", None, "UTF-8"),
        ("valence,arousal\n0,0\n".encode("utf-16"), None, "UTF-8"),
    ],
)
def test_a_bad_file_is_refused_with_file_line_and_reason(tmp_path, content, line, message):
    path = annotation(tmp_path, content)
    with pytest.raises(InputError, match=message) as raised:
        read_annotation(path)
    assert str(path) in str(raised.value)
    if line:
        assert f"line {line}:" in str(raised.value)


def test_an_absent_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        read_annotation(tmp_path / "none.txt")


value = st.one_of(st.just(-5.0), st.floats(-1, 1))


@given(st.lists(st.tuples(value, value), min_size=1))
def test_what_was_written_is_read(rows):
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = annotation(Path(folder), "valence,arousal\n" + "".join(f"{first!r},{second!r}\n" for first, second in rows))
        values, kept = read_annotation(path)
    np.testing.assert_array_equal(values, np.array(rows, np.float32))
    assert kept.tolist() == [row for row, pair in enumerate(rows) if -5 not in pair]
    assert set(kept) <= set(report_rows(values))


HEADER = "image_location,valence,arousal\n"


def test_the_template_gives_image_numbers_in_its_order(tmp_path):
    path = annotation(tmp_path, HEADER + "b_left/00001.jpg,,\nb_left/00002.jpg,,\na/00002.jpg,0,0\na/00001.jpg,,\nb_left/100000.jpg\n")
    template = read_template(path)
    assert {trial: images.tolist() for trial, images in template.items()} == {"b_left": [1, 2, 100000], "a": [2, 1]}
    assert list(template) == ["b_left", "a"]
    assert template_frames(path, "a") == 2
    with pytest.raises(InputError, match="no row for the test trial c"):
        template_frames(path, "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "line 1: expected the header"),
        (HEADER, "no row"),
        (HEADER + "a/00001.jpg,,\n\na/00002.jpg,,\n", "line 3"),
        (HEADER + "../a/00001.jpg,,\n", "line 2"),
        (HEADER + "a/00000.jpg,,\n", "line 2"),
        (HEADER + "a/00001.jpg,,\na/00001.jpg,,\n", "a/00001.jpg comes twice"),
    ],
)
def test_a_bad_template_is_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        read_template(annotation(tmp_path, content))
