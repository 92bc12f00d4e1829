"""The audit: counts per trial, the page and the figure, and limits that turn a count into an error after all is written."""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from abaw_pipeline.config import Audit
from abaw_pipeline.corpus import audit
from abaw_pipeline.corpus.trials import COLUMNS
from abaw_pipeline.errors import InputError
from tests.corpus_making import make_dataset, make_parts

RATE, FRAMES = 25, 20


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three trials: a plain one, one with trouble of every kind, and a silent test trial."""
    folder = tmp_path_factory.mktemp("audit")
    times = [frame / RATE for frame in range(FRAMES)]
    plain = [(0.1, 0.2)] * FRAMES
    odd = list(plain)
    odd[0] = odd[8] = odd[9] = (-5, -5)
    odd[12] = (0.3, -5)
    lost = {"words": [(0.2, 0.3)], "word_counts": {"cut_words": 1, "zero_words": 2}}
    trials = {
        "plain": make_parts(folder, "plain", plain, times=times, images=range(FRAMES), words=[(0.0, 0.4)], sound_seconds=0.8),
        "odd": make_parts(folder, "odd", odd, times=times[:-2], images=range(4, FRAMES + 2), sound_seconds=0.3, **lost),
        "quiet": make_parts(folder, "quiet", None, times=times, images=range(FRAMES), sound_seconds=0.0),
    }
    broken = trials["odd"]["faces"] / "00006.jpg"
    broken.write_bytes(broken.read_bytes()[:100])
    (trials["odd"]["faces"] / "Thumbs.db").write_text("")
    trials["odd"]["partition"] = "validation"
    lines = []
    for name, parts in trials.items():
        make_dataset(parts, folder / "dataset" / f"{name}.h5")
        lines.append(",".join((name, name, parts["partition"], name, "", "", "", "", "", "")))
    (folder / "trials.csv").write_text(",".join(COLUMNS) + "\n" + "\n".join(lines) + "\n")
    return folder


def run(results: Path, output: Path, **limits: float) -> None:
    audit.main(
        argparse.Namespace(
            trials=results / "trials.csv",
            datasets=results / "dataset",
            settings=json.dumps({"max_corrupt_images_share": 1} | limits),
            output=output / "audit.csv",
            figures=output / "report" / "audit",
        )
    )


def rows(output: Path) -> dict[str, dict[str, str]]:
    with (output / "audit.csv").open(newline="") as file:
        return {row["trial"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def written(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one run within the limits writes."""
    output = tmp_path_factory.mktemp("written")
    run(results, output)
    return output


def test_every_count_is_in_the_table(written):
    found = rows(written)
    assert list(found) == ["plain", "odd", "quiet"]
    expected: dict[str, Any] = {
        "partition": "validation",
        "frames": 20,
        "rows": 16,
        "annotation_rows": 20,
        "template_rows": "",
        "decoder_frames": 18,
        "excluded": 4,
        "excluded_share": 0.2,
        "excluded_start": 1,
        "excluded_inner": 3,
        "excluded_end": 0,
        "inner_gaps": 2,
        "single_minus5": 1,
        "images": 18,
        "surplus_images": 2,
        "other_files": 1,
        "missing_faces": 5,
        "missing_faces_share": 0.25,
        "missing_faces_kept": 4,
        "corrupt_images": 1,
        "corrupt_names": "00006.jpg",
        "slid_rows": 0,
        "times_extrapolated": 2,
        "times_trimmed": 0,
        "length_repair_share": 0.2,
        "sound_track": True,
        "sound_seconds": 0.3,
        "picture_seconds": 0.72,
        "sound_gap_seconds": 0.42,
        "words": 1,
        "cut_words": 1,
        "zero_words": 2,
        "fps": 25.0,
        "variable_rate": False,
    }
    assert {name: found["odd"][name] for name in expected} == {name: str(value) for name, value in expected.items()}
    assert found["plain"]["length_repair_share"] == "0.0"
    assert (found["quiet"]["sound_track"], found["quiet"]["sound_gap_seconds"], found["quiet"]["words"]) == ("False", "0.0", "0")


def test_the_page_names_each_finding_with_its_trials(written):
    page = (written / "report" / "audit" / "audit.md").read_text()
    assert "| trials | 1 | 1 | 1 | 3 |" in page
    assert "- **rows excluded for -5**: 1 of 3 trials, 4 rows in all: odd (4 rows)" in page
    assert "- **no sound track**: 1 of 3 trials: quiet" in page
    assert "- **words too long for the features' model, cut to its limit**: 1 of 3 trials, 1 word in all: odd (1 word)" in page
    assert "- **words that the features' model has no token for, zeros**: 1 of 3 trials, 2 words in all: odd (2 words)" in page
    assert "variable frame rate" not in page, "what was not found is not listed"
    assert "within the limits" in page
    assert len(page.splitlines()) < 60


def test_the_figure_is_written_and_the_same_each_time(results, written, tmp_path):
    first, second = written, tmp_path
    run(results, second)
    for name in ("audit.csv", "report/audit/audit.md", "report/audit/audit.png", "report/audit/audit.svg"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    with Image.open(first / "report" / "audit" / "audit.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)
    assert (pixels < 60).all(axis=2).mean() > 0.02, "there is ink"
    assert np.abs(pixels - pixels.mean(axis=2, keepdims=True)).max() < 3, "and it is grey"


LIMITS = {
    "max_excluded_share": (0.1, "odd: excluded_share is 0.2, above audit.max_excluded_share = 0.1"),
    "max_missing_faces_share": (0.2, "odd: missing_faces_share is 0.25"),
    "max_corrupt_images_share": (0.01, "odd: corrupt_images_share is 0.0555"),
    "max_length_repair_share": (0.1, "odd: length_repair_share is 0.2"),
    "max_sound_gap_seconds": (0.1, "odd: sound_gap_seconds is 0.42"),
}


def test_counts_above_their_limits_are_an_error_after_everything_is_written(results, tmp_path):
    with pytest.raises(InputError) as raised:
        run(results, tmp_path, **{name: limit for name, (limit, _) in LIMITS.items()})
    for _, message in LIMITS.values():
        assert message in str(raised.value)
    assert "plain" not in str(raised.value)
    assert len(rows(tmp_path)) == 3
    assert (tmp_path / "report" / "audit" / "audit.svg").is_file()
    assert "above audit.max_excluded_share" in (tmp_path / "report" / "audit" / "audit.md").read_text()


@pytest.mark.parametrize("name", LIMITS)
def test_each_limit_stands_alone(name):
    row = {"trial": "a", "excluded_share": 0.5, "missing_faces_share": 0.5, "corrupt_images_share": 0.5}
    row |= {"length_repair_share": 0.5, "sound_gap_seconds": 0.5}
    everything = dict.fromkeys(LIMITS, 1.0)
    assert audit.exceeded([row], Audit(**everything)) == []
    assert audit.exceeded([row], Audit(**everything | {name: 0.5})) == [], "a limit may be reached"
    assert len(audit.exceeded([row], Audit(**everything | {name: 0.4}))) == 1


def test_the_default_limits_allow_more_repairs_than_frames():
    row = {"trial": "a", "frames": 20, "excluded": 0, "missing_faces": 0, "corrupt_images": 0, "images": 57, "sound_track": False}
    row |= {"times_extrapolated": 0, "times_trimmed": 0, "surplus_images": 37}
    assert audit.exceeded([row | audit._shares(row)], Audit()) == []
    assert len(audit.exceeded([row | audit._shares(row)], Audit(max_length_repair_share=0.9))) == 1


def test_strips_show_the_share_of_frames_in_each_part():
    strip = audit._binned(np.array([True] * 40 + [False] * 20))
    assert strip[: 2 * audit.BINS // 3].min() == pytest.approx(1)
    assert strip[2 * audit.BINS // 3 :].max() == pytest.approx(0)
    assert audit._binned(np.array([True, False] * 5000)).mean() == pytest.approx(0.5)
