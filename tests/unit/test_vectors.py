"""Vectors that stand for a modality: each row gets its frame's, the network learns from them, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.torch import load_file

from abaw_pipeline import config
from abaw_pipeline.__main__ import main
from abaw_pipeline.errors import InputError
from abaw_pipeline.models import create_model
from abaw_pipeline.training import train
from abaw_pipeline.training.index import Trial, read_fold
from abaw_pipeline.training.loader import WindowReader, partition_windows
from abaw_pipeline.training.vectors import find_vectors
from tests.training_data import write_dataset
from tests.unit.test_train import contents, run, settings

GAP = 9


def all_trials(index: Path) -> list[Trial]:
    fold = read_fold(index, 0)[0]
    return [*fold.train, *fold.validation, *fold.test]


def write_vectors(index: Path, folder: Path) -> Path:
    """Three numbers per frame: the row's valence and arousal, and the frame's number; zeros where no row is kept."""
    folder.mkdir()
    for trial in all_trials(index):
        vectors = np.zeros((trial.frames, 3), dtype=np.float32)
        with h5py.File(trial.path) as file:
            vectors[file["frame"][()], :2] = file["label"][()]
        vectors[:, 2] = np.arange(trial.frames) / 100
        with h5py.File(folder / f"{trial.name}.h5", "w") as file:
            file["vectors"] = vectors
    return folder


def replace(path: Path, vectors: object) -> None:
    with h5py.File(path, "r+") as file:
        del file["vectors"]
        file["vectors"] = vectors


def chosen(folder: Path, modalities: tuple[str, ...] = ("video",), **changed: object) -> dict:
    values = settings(modalities, **changed)
    values["model"]["precomputed"] = {"video": str(folder)}
    return values


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "dataset", gap=GAP)


@pytest.fixture
def folder(index: Path, tmp_path: Path) -> Path:
    return write_vectors(index, tmp_path / "vectors")


def test_every_row_has_the_vector_of_its_frame_and_padding_is_zero(index: Path, folder: Path) -> None:
    trials = read_fold(index, 0)[0].train
    windows = partition_windows(trials, 50, 30)
    reader = WindowReader(trials, windows, 50, (), 12, {"video": find_vectors(folder, trials)})
    batch = reader[list(range(len(windows)))]
    for place, window in enumerate(windows):
        count = window.stop - window.start
        with h5py.File(trials[window.trial].path) as file:
            frame = file["frame"][window.start : window.stop]
        np.testing.assert_array_equal(batch["video_vectors"][place, :count, :2], batch["label"][place, :count])
        np.testing.assert_allclose(batch["video_vectors"][place, :count, 2], frame / 100, rtol=1e-6)
        assert not batch["video_vectors"][place, count:].any()
    assert min(window.stop - window.start for window in windows) < 50, "one is padded"


def test_a_network_learns_from_vectors_whether_or_not_faces_were_found(tmp_path: Path) -> None:
    index = write_dataset(tmp_path / "dataset", lengths=(120,) * 12, without={"video": range(12)})
    folder = write_vectors(index, tmp_path / "vectors")
    run(index, tmp_path / "runs", chosen(folder, epochs=8, crop=40))
    metrics = json.loads((tmp_path / "runs/seed0/metrics.json").read_text())
    assert metrics["validation"]["valence"]["ccc"] > 0.8
    assert metrics["warnings"] == []


def test_beside_other_modalities_runs_are_equal_and_the_weights_say_how_to_build(
    index: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "git_commit", lambda: "commit")
    values = chosen(folder, ("video", "logmel", "bert"), epochs=1)
    for name, workers in (("one", 0), ("two", 1)):
        run(index, tmp_path / name, values, workers=workers)
    assert contents(tmp_path / "one/seed0") == contents(tmp_path / "two/seed0")
    path = tmp_path / "one/seed0/weights.safetensors"
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["network"])
    assert about["precomputed"] == {"video": 3}
    create_model(about.pop("name"), about.pop("modalities"), **about).load_state_dict(load_file(path))


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (None, r"trial1\.h5: missing; make vectors for this trial"),
        (np.zeros((45 + GAP, 4), np.float32), r"differ in length \(3 in .*trial0\.h5, 4 in .*trial1\.h5\)"),
        (np.zeros((45, 3), np.float32), r"trial1\.h5: 45 vectors for 54 frames; make one per frame"),
        (np.zeros((46 + GAP, 3), np.float32), r"trial1\.h5: 55 vectors for 54 frames"),
        (np.zeros(45 + GAP, np.float32), r"trial1\.h5: 'vectors' must be floats"),
        (np.zeros((45 + GAP, 3), np.int32), r"trial1\.h5: 'vectors' must be floats"),
        (np.full((45 + GAP, 3), np.nan, np.float32), r"trial1\.h5: the vector of frame \d+ holds what is no number"),
    ],
    ids=["no file", "other length", "too few", "too many", "one axis", "integers", "not a number"],
)
def test_what_is_wrong_with_vectors_is_one_clear_error(
    index: Path, folder: Path, tmp_path: Path, vectors: np.ndarray | None, message: str
) -> None:
    path = folder / "trial1.h5"
    if vectors is None:
        path.unlink()
    else:
        replace(path, vectors)
    with pytest.raises(InputError, match=message):
        run(index, tmp_path / "runs", chosen(folder, epochs=1))
    assert not list((tmp_path / "runs").rglob("metrics.json"))


@pytest.mark.parametrize("content", [b"no HDF5", None], ids=["not HDF5", "no such dataset"])
def test_a_file_without_vectors_is_named(index: Path, folder: Path, content: bytes | None) -> None:
    path = folder / "trial2.h5"
    if content is None:
        with h5py.File(path, "w") as file:
            file["features"] = np.zeros((60 + GAP, 3))
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"trial2\.h5: no dataset 'vectors' can be read"):
        find_vectors(folder, all_trials(index))


def test_the_setting_reaches_training_and_must_fit_the_modalities() -> None:
    def load(precomputed: dict[str, str]) -> config.Settings:
        return config.load({"models": {"mine": {"network": "can", "modalities": ["video"], "precomputed": precomputed}}})

    assert json.loads(config.stage_settings(load({"video": "x"}), "train", "mine"))["model"]["precomputed"] == {"video": "x"}
    for wrong in ({"logmel": "x"}, {"video": ""}, {"sound": "x"}):
        with pytest.raises(config.ConfigError, match="precomputed"):
            load(wrong)


def test_describe_tells_their_length_or_that_it_guesses(index: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file, size = tmp_path / "config.yaml", "training: {window: 20, hop: 20, batch_size: 1}"
    for where, expected in ((folder, "your vectors of 3, as they are\n"), (tmp_path / "none", "your vectors of 512, as they are (a guess")):
        file.write_text(
            f"models: {{tiny: {{network: can, modalities: [video, bert], tcn_width: 0.1, precomputed: {{video: {where}}}}}}}\n{size}\n"
        )
        assert main(["describe", str(file)]) == 0
        page = capsys.readouterr().out
        assert expected in page
        assert "video backbone" not in page
