"""The demo run of this repository: it ends with a valid submission, it has learned, and each modality counts."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from abaw_pipeline import config
from abaw_pipeline.evaluation.submission import validate

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.demo]


@pytest.fixture(scope="module")
def selection(results: Path) -> dict:
    return json.loads((results / "selection.json").read_text())


def recomputed(results: Path, instance: str, emotion: str) -> float:
    """Validation CCC of an instance from its saved predictions, in a few lines of its own."""
    with (results / "runs" / instance / "validation.csv").open() as file:
        rows = list(csv.DictReader(file))
    x, y = (np.array([float(row[name]) for row in rows]) for name in (emotion, f"{emotion}_label"))
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def test_the_submission_is_valid_and_complete(results):
    settings = config.load_file(ROOT / "config.yaml")
    template = ROOT / settings.demo.folder / "test_set/CVPR_5th_ABAW_VA_test_set_sample.txt"
    with zipfile.ZipFile(results / "submission/submission.zip") as archive:
        names = archive.namelist()
    assert names == ["1.txt", "2.txt", "3.txt", "4.txt"], "three folds give best CAN and LFAN of fold 0 and two more CAN folds"
    for name in names:
        assert validate(results / "submission" / name, template) == []


def test_the_chosen_instances_have_learned(results, selection):
    for submission in selection["submissions"]:
        for emotion in ("valence", "arousal"):
            (member,) = submission["members"][emotion]
            score = recomputed(results, member["instance"], emotion)
            assert score >= 0.5, member
            assert score == pytest.approx(member["ccc"], abs=1e-4)


def test_the_submissions_score_against_the_hidden_truth(results):
    scores = json.loads((results / "submission/scores.json").read_text())
    assert len(scores) == 4
    assert min(score["mean"] for score in scores.values()) >= 0.4


def test_every_dataset_file_is_valid(results):
    command = [sys.executable, "-m", "abaw_pipeline", "check", *map(str, sorted((results / "dataset").glob("*.h5")))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def train(index: Path, output: Path, model: str, emotion: str, **changes) -> float:
    """Best validation CCC of a few epochs of one instance on fold 0, with the demo's settings but for `changes`."""
    settings = json.loads(config.stage_settings(config.load_file(ROOT / "config.yaml"), "train", model))
    settings["model"] |= changes
    command = [sys.executable, "-m", "abaw_pipeline", "train", "--index", str(index), "--model", model, "--emotion", emotion]
    command += ["--fold", "0", "--seeds", "0", "1", "--output", str(output), "--settings", json.dumps(settings), "--threads", "1"]
    subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return max(json.loads((output / f"seed{seed}/metrics.json").read_text())["validation"][emotion]["ccc"] for seed in (0, 1))


def chosen(results: Path, model: str, emotion: str) -> float:
    return max(
        json.loads(path.read_text())["validation"][emotion]["ccc"]
        for path in (results / f"runs/{model}/{emotion}/fold0").glob("*/metrics.json")
    )


def test_pictures_count_can_without_them_scores_visibly_lower(results, tmp_path):
    without = train(results / "dataset/index.json", tmp_path, "can", "valence", modalities=["logmel"])
    assert without < chosen(results, "can", "valence") - 0.1


def test_sound_and_words_count_lfan_without_them_scores_visibly_lower(results, tmp_path):
    without = train(results / "dataset/index.json", tmp_path, "lfan", "arousal", modalities=["video"])
    assert without < chosen(results, "lfan", "arousal") - 0.1


def test_shuffled_labels_are_not_learned(results, tmp_path):
    """Labels of whole trials change hands, so that every statistic but the link to picture, sound and words is kept."""
    index = json.loads((results / "dataset/index.json").read_text())
    folder = tmp_path / "dataset"
    folder.mkdir()
    labels = {}
    for item in index["trials"]:
        with h5py.File(results / "dataset" / item["path"]) as file:
            if "label" in file:
                labels[item["trial"]] = file["label"][()]
    names = sorted(labels)
    giver = dict(zip(names, names[len(names) // 2 :] + names[: len(names) // 2], strict=True))
    for item in index["trials"]:
        source, copy = results / "dataset" / item["path"], folder / item["path"]
        copy.write_bytes(source.read_bytes())
        with h5py.File(copy, "a") as file:
            link = file.get("frames", getlink=True)
            del file["frames"]
            file["frames"] = h5py.ExternalLink(str((source.parent / link.filename).resolve()), link.path)
            if item["trial"] in labels:
                file["label"][...] = np.resize(labels[giver[item["trial"]]], file["label"].shape)
    (folder / "index.json").write_text(json.dumps(index))
    assert train(folder / "index.json", tmp_path / "run", "can", "valence") < 0.3
