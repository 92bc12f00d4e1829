"""The coverage table counts what the text branch really sees, and says so when that is mostly zeros."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from abaw_pipeline.errors import InputError
from abaw_pipeline.language import coverage
from abaw_pipeline.store import TrialData, write_trial

COLUMNS = ("trial", "video", "partition", "group", "subject", "rows", "video_path", "faces", "annotation", "template_rows")


def said(*confidences: float) -> list[dict[str, Any]]:
    return [{"text": "a", "start": number, "end": number + 0.5, "confidence": c} for number, c in enumerate(confidences)]


def dataset(trial: str, video: str, partition: str, word: list[int]) -> TrialData:
    """A trial without sound whose rows show the given words."""
    rows = np.arange(len(word))
    words = max(word) + 1
    return TrialData(
        trial=trial,
        video=video,
        partition=partition,
        group=video,
        settings={},
        time=rows / 25,
        face_present=np.ones(len(word), bool),
        rows=rows,
        frame=rows,
        label=None,
        logmel=np.zeros((0, 64), np.float16),
        logmel_start=np.full(len(word), -1, np.int32),
        words=np.zeros((words, 3), np.float16),
        word=np.array(word, np.int32),
        word_text=["a"] * words,
        word_time=np.zeros((words, 2)),
    )


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """Two trials of one talking video, a silent one, a test video; returns a function that runs the command on them."""
    trials = [("a_left", "a", "train", [0, -1, 1, 1]), ("a_right", "a", "train", [-1, -1, 0, 0, 1, 1])]
    trials += [("b", "b", "train", [-1] * 30), ("c", "c", "test", [0, 0, 0, -1])]
    with (tmp_path / "trials.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            [trial, video, partition, video, trial, len(word), f"{video}.mp4", "", "", ""] for trial, video, partition, word in trials
        )
    (tmp_path / "dataset").mkdir()
    for trial, video, partition, word in trials:
        write_trial(tmp_path / "dataset" / f"{trial}.h5", dataset(trial, video, partition, word), np.zeros((len(word), 2, 2, 3), np.uint8))
    videos = [
        {"a": {"seconds": 30.0, "words": said(0.5, 1.0), "note": ""}, "b": {"seconds": 0.0, "words": [], "note": "no sound"}},
        {"c": {"seconds": 6.0, "words": said(0.25), "note": ""}},
    ]
    for number, part in enumerate(videos):
        (tmp_path / f"shard{number}.json").write_text(json.dumps({"videos": part}))

    def command(*shards: int, output: str = "out") -> list[dict[str, str]]:
        parser = argparse.ArgumentParser()
        coverage.add_arguments(parser)
        places = ["--trials", str(tmp_path / "trials.csv"), "--datasets", str(tmp_path / "dataset"), "--output", str(tmp_path / output)]
        coverage.main(parser.parse_args([*places, "--punctuated", *(str(tmp_path / f"shard{number}.json") for number in shards)]))
        return list(csv.DictReader((tmp_path / output / "coverage.csv").open()))

    return command


def test_the_table_counts_rows_words_and_videos(run: Any) -> None:
    rows = {row["video"]: row for row in run(0, 1)}
    assert list(rows) == ["a", "b", "c", "(all train)", "(all test)"]
    assert rows["a"] == {
        "video": "a",
        "partition": "train",
        "videos": "1",
        "frames": "10",
        "word_share": "0.7000",
        "words": "2",
        "seconds": "30.00",
        "words_per_minute": "4.0",
        "mean_confidence": "0.750",
        "empty_transcripts": "0",
        "note": "",
    }
    blank = {"word_share": "0.0000", "words_per_minute": "", "mean_confidence": "", "empty_transcripts": "1", "note": "no sound"}
    assert {key: rows["b"][key] for key in blank} == blank
    # A partition weighs its frames and words, not its videos.
    means = {"videos": "2", "frames": "40", "word_share": "0.1750", "words_per_minute": "4.0", "mean_confidence": "0.750"}
    assert {key: rows["(all train)"][key] for key in means} == means
    assert rows["(all train)"]["empty_transcripts"] == "1"


def test_a_partition_of_mostly_zeros_is_warned_of(run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(0, 1)
    told = [line for line in capsys.readouterr().err.splitlines() if "mostly zeros" in line]
    assert told == [
        "coverage: only 18 % of the frames of train lie inside a recognised word (1 of 2 videos have none): "
        "its text branch sees mostly zeros"
    ]


def test_the_figure_comes_as_png_and_svg_with_equal_bytes(run: Any, tmp_path: Path) -> None:
    run(0, 1)
    run(0, 1, output="again")
    with Image.open(tmp_path / "out" / "coverage.png") as image:
        assert image.width > 600
    assert "<svg" in (tmp_path / "out" / "coverage.svg").read_text()[:2000]
    for suffix in ("csv", "png", "svg"):
        assert (tmp_path / "out" / f"coverage.{suffix}").read_bytes() == (tmp_path / "again" / f"coverage.{suffix}").read_bytes()


def test_the_figure_holds_many_videos() -> None:
    videos = [
        coverage.Covered(
            video=f"v{n}", partition="train", frames=9, inside=n % 10, words=n, seconds=9.0, confidence=1.0, empty=int(n % 9 == 0)
        )
        for n in range(500)
    ]
    figure = coverage.figure(videos, [coverage.together(videos, "train")])
    assert len(figure.axes[0].patches) == 500
    assert not figure.axes[0].get_xticklabels()


def test_a_video_without_a_shard_is_named(run: Any) -> None:
    with pytest.raises(InputError, match="no shard holds the words of c"):
        run(0)


def test_trials_of_pictures_alone_are_said_to_have_no_video(run, tmp_path):
    table = tmp_path / "trials.csv"
    table.write_text(table.read_text().replace("c.mp4", ""))
    by_name = {row["video"]: row for row in run(0)}
    assert (by_name["c"]["note"], by_name["c"]["words"], by_name["a"]["words"]) == ("no video", "0", "2")
    with pytest.raises(InputError, match="no shard holds the words of a, b"):
        run()
