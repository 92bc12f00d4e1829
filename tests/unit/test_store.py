"""`check` says what is wrong with a trial's file; files are whole or absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.errors import InputError
from abaw_pipeline.store import TrialData, check_trial, read_trial, write_trial

FRAMES, ROWS, SPECTRUM, WORDS, DIMENSION = 6, 4, 200, 2, 3


def example() -> TrialData:
    return TrialData(
        trial="t",
        video="v",
        partition="train",
        group="g",
        settings={"rows": "kept", "window": "ahead"},
        time=np.arange(FRAMES) / 25,
        face_present=np.ones(FRAMES, bool),
        rows=np.array([0, 1, 4, 5]),
        frame=np.array([0, 1, 4, 5]),
        label=np.linspace(-1, 1, 2 * ROWS, dtype=np.float32).reshape(ROWS, 2),
        logmel=np.zeros((SPECTRUM, 64), np.float16),
        logmel_start=np.array([0, 4, 16, 104], np.int32),
        words=np.ones((WORDS, DIMENSION), np.float16),
        word=np.array([-1, 0, -1, 1], np.int32),
        word_text=["one", "zwölf"],
        word_time=np.array([[0.0, 0.04], [0.17, 0.3]]),
        audit={"images": 6},
    )


FRAME_PIXELS = np.full((FRAMES, 48, 48, 3), 7, np.uint8)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "dataset" / "t.h5"
    write_trial(path, example(), FRAME_PIXELS)
    return path


def test_what_is_written_is_read(path):
    written, read = example(), read_trial(path)
    for name, value in vars(written).items():
        np.testing.assert_array_equal(value, getattr(read, name), err_msg=name)
        if isinstance(value, np.ndarray):
            assert getattr(read, name).dtype == value.dtype
    assert check_trial(path) == []


def test_a_trial_without_pictures_sound_words_or_labels_is_valid_and_small(tmp_path):
    data = replace(
        example(),
        partition="test",
        label=None,
        face_present=np.zeros(FRAMES, bool),
        logmel=np.zeros((0, 64), np.float16),
        logmel_start=np.full(ROWS, -1, np.int32),
        words=np.zeros((0, DIMENSION), np.float16),
        word=np.full(ROWS, -1, np.int32),
        word_text=[],
        word_time=np.zeros((0, 2)),
    )
    path = tmp_path / "t.h5"
    write_trial(path, data, None)
    assert check_trial(path) == []
    assert path.stat().st_size < 25_000
    with h5py.File(path) as file:
        assert file["frames"].shape == (FRAMES, 48, 48, 3)
        assert not file["frames"][()].any()
    assert read_trial(path).word_text == []


def broken_value(name: str, index: object, value: object) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        file[name][index] = value

    return damage


def replaced(name: str, value: object) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return damage


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        file.attrs[name] = value

    return damage


def without(name: str) -> Callable[[h5py.File], None]:
    def damage(file: h5py.File) -> None:
        if name in file:
            del file[name]
        else:
            del file.attrs[name]

    return damage


DAMAGES = {
    **{f"no {name}": (without(name), f"{name}: missing") for name in ("time", "rows", "frame", "label", "logmel", "word_text", "frames")},
    "no group": (without("group"), "attribute group: missing"),
    "settings no JSON": (attribute("settings", "{"), "attribute settings: not JSON"),
    "audit no object": (attribute("audit", "[1]"), "attribute audit: not a JSON object"),
    "partition": (attribute("partition", "dev"), "attribute partition: 'dev'"),
    "version": (attribute("format_version", 99), "format version 99, expected 1"),
    "frames of floats": (replaced("frames", np.zeros((FRAMES, 48, 48, 3))), "frames: expected (F, S, S, 3) uint8"),
    "frames not square": (replaced("frames", np.zeros((FRAMES, 48, 40, 3), np.uint8)), "frames: expected (F, S, S, 3) uint8"),
    "too few frames": (replaced("frames", np.zeros((5, 48, 48, 3), np.uint8)), "frames: 5 frames, but `time` has (6,)"),
    "rows of floats": (replaced("rows", np.arange(4.0)), "rows: expected int64, found float64"),
    "label one column": (replaced("label", np.zeros((ROWS, 1), np.float32)), "label: length 1 along axis 1, expected 2"),
    "labels fewer than rows": (replaced("label", np.zeros((3, 2), np.float32)), "label: length 3 along axis 0, expected 4 as in rows"),
    "label flat": (replaced("label", np.zeros(ROWS, np.float32)), "label: expected 2 dimensions"),
    "log-mel bands": (replaced("logmel", np.zeros((SPECTRUM, 40), np.float16)), "logmel: length 40 along axis 1, expected 64"),
    "log-mel short": (replaced("logmel", np.zeros((50, 64), np.float16)), "logmel: 50 rows are less than one window of 96"),
    "words and texts": (replaced("word_text", ["a"]), "word_text: shape (1,), expected 2 words as in words"),
    "texts are numbers": (replaced("word_text", np.arange(2)), "word_text: expected strings"),
    "rows repeat": (broken_value("rows", 1, 0), "rows: not increasing (1 of 3, first at 0)"),
    "rows outside": (broken_value("rows", 3, 6), "rows: outside the 6 frames (1 of 4, first at 3)"),
    "rows negative": (broken_value("rows", 0, -1), "rows: outside the 6 frames"),
    "frame outside": (broken_value("frame", 3, 6), "frame: outside the 6 frames"),
    "frame slides": (broken_value("frame", 2, 2), "frame: differs from rows"),
    "label outside": (broken_value("label", (2, 1), 1.5), "label: outside [-1, 1] (1 of 8, first at 2)"),
    "label -5": (broken_value("label", (2, 1), -5), "label: outside [-1, 1]"),
    "label NaN": (broken_value("label", (2, 1), np.nan), "label: outside [-1, 1]"),
    "start late": (broken_value("logmel_start", 3, 105), "logmel_start: outside 0 to 104, the last full window (1 of 4, first at 3)"),
    "start negative": (broken_value("logmel_start", 0, -1), "logmel_start: outside 0 to 104"),
    "log-mel NaN": (broken_value("logmel", (3, 3), np.nan), "logmel: not finite"),
    "word outside": (broken_value("word", 0, 2), "word: outside -1 to 1"),
    "word below": (broken_value("word", 0, -2), "word: outside -1 to 1"),
    "word elsewhere": (broken_value("word", 0, 1), "word: 1 rows lie outside the span of their word, first at 0"),
    "word long over": (broken_value("word", 3, 0), "word: 1 rows lie outside the span of their word, first at 3"),
    "words infinite": (broken_value("words", (1, 1), np.inf), "words: not finite"),
    "word times decrease": (broken_value("word_time", 1, (-0.1, 0.3)), "word_time: starts decrease"),
    "word ends first": (broken_value("word_time", 0, (0.0, -0.1)), "word_time: ends before it starts"),
    "time decreases": (broken_value("time", 2, 0.0), "time: decreasing (1 of 5, first at 1)"),
    "time NaN": (broken_value("time", 2, np.nan), "time: not finite"),
    "a group for rows": (lambda file: [without("rows")(file), file.create_group("rows")], "rows: not a dataset"),
    "a group for frames": (lambda file: [without("frames")(file), file.create_group("frames")], "frames: not a dataset"),
    "a group for texts": (lambda file: [without("word_text")(file), file.create_group("word_text")], "word_text: not a dataset"),
    "no rows": (
        lambda file: [
            replaced(name, value)(file)
            for name, value in {
                "rows": np.zeros(0, np.int64),
                "frame": np.zeros(0, np.int64),
                "label": np.zeros((0, 2), np.float32),
                "logmel_start": np.zeros(0, np.int32),
                "word": np.zeros(0, np.int32),
            }.items()
        ],
        "rows: none",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_named(path, name):
    damage, message = DAMAGES[name]
    with h5py.File(path, "a") as file:
        damage(file)
    problems = check_trial(path)
    assert any(message in problem for problem in problems), problems


def test_each_damage_has_its_own_sentence(path):
    sentences = [message for _, message in DAMAGES.values()]
    distinct = {sentence.split(" (")[0] for sentence in sentences}
    assert len(distinct) > 30


def test_a_start_without_sound_is_named(path):
    with h5py.File(path, "a") as file:
        replaced("logmel", np.zeros((0, 64), np.float16))(file)
    assert check_trial(path) == ["logmel_start: not -1 although there is no sound (4 of 4, first at 0)"]


def test_label_of_minus_five_is_valid_with_the_reports_rows(tmp_path):
    label = np.zeros((ROWS, 2), np.float32)
    label[1, 0] = -5
    data = replace(example(), settings={"rows": "report", "window": "ahead"}, label=label, frame=np.arange(ROWS))
    write_trial(tmp_path / "t.h5", data, FRAME_PIXELS)
    assert check_trial(tmp_path / "t.h5") == []


def test_linked_frames(tmp_path):
    frames = tmp_path / "frames" / "t.h5"
    frames.parent.mkdir()
    with h5py.File(frames, "w") as file:
        file["frames"] = FRAME_PIXELS
    path = tmp_path / "dataset" / "t.h5"
    write_trial(path, example(), frames)
    assert check_trial(path) == []
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "dataset").rename(moved / "dataset")
    frames.parent.rename(moved / "frames")
    assert check_trial(moved / "dataset" / "t.h5") == [], "the two folders move together"
    (moved / "frames" / "t.h5").unlink()
    assert "is missing; run the frames stage" in check_trial(moved / "dataset" / "t.h5")[0]
    (moved / "frames" / "t.h5").write_text("no hdf5")
    assert "holds no dataset" in check_trial(moved / "dataset" / "t.h5")[0]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.h5", "no such file"),
        ("empty.h5", "cannot be read as HDF5"),
        ("text.csv", "cannot be read as HDF5"),
        ("folder", "a folder; name the files in it: {path}/*.h5"),
        ("frames.h5", "no trial's file: it has no format version, and holds face_present, frames"),
        ("logmel.h5", "no trial's file: it has no format version, and holds logmel"),
        ("features.h5", "no trial's file: it has no format version, and holds video1, video2"),
        ("hollow.h5", "no trial's file: it has no format version, and holds nothing"),
    ],
)
def test_what_is_no_trials_file_is_said_to_be_none_in_one_line(tmp_path, capsys, name, said):
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty.h5").touch()
    (tmp_path / "text.csv").write_text("trial,video\n")
    parts = {"frames": ("frames", "face_present"), "logmel": ("logmel",), "features": ("video1/words", "video2/words"), "hollow": ()}
    for stem, names in parts.items():
        with h5py.File(tmp_path / f"{stem}.h5", "w") as file:
            for part in names:
                file[part] = np.zeros(3)
    path = tmp_path / name
    assert main(["check", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{path}:" and len(lines) == 2
    assert said.format(path=path) in lines[1]
    with pytest.raises(InputError, match=r"cannot be read as HDF5|format version None"):
        read_trial(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-2000])
    assert check_trial(path)


def test_damaged_bytes_are_reported_not_raised(path):
    """Pixels and the like can be damaged unseen (the index has checksums for that), but nothing ends in a traceback."""
    whole = path.read_bytes()
    found = []
    for start in range(0, len(whole) - 512, 512):
        if set(whole[start : start + 512]) == {7}:
            continue  # pixels
        path.write_bytes(whole[:start] + b"X" * 512 + whole[start + 512 :])
        found.append(bool(check_trial(path)))
    assert sum(found) > 10


def test_reading_a_file_that_lacks_a_part_names_it(path):
    with h5py.File(path, "a") as file:
        del file["word"], file.attrs["group"]
    with pytest.raises(InputError, match="no word, group"):
        read_trial(path)


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "t.h5"
    with pytest.raises(ValueError):
        write_trial(path, replace(example(), rows=np.array(["x"])), FRAME_PIXELS)
    assert list(tmp_path.iterdir()) == []


def test_the_command_tells_and_its_status_counts(path, tmp_path, capsys):
    bad = tmp_path / "dataset" / "bad.h5"
    bad.write_bytes(path.read_bytes())
    with h5py.File(bad, "a") as file:
        file["rows"][1] = 0
        file.attrs["audit"] = json.dumps([])
    assert main(["check", str(path)]) == 0
    capsys.readouterr()
    assert main(["check", str(path), str(bad)]) == 1
    said = capsys.readouterr()
    assert f"{path}: valid" in said.out
    assert "attribute audit: not a JSON object" in said.out
    assert "1 valid, 1 with problems" in said.err
