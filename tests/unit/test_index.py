"""The index: folds, lengths, word sums, and checksums that change with any byte of the data."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from abaw_pipeline.corpus import index
from abaw_pipeline.corpus.trials import COLUMNS
from abaw_pipeline.errors import InputError
from abaw_pipeline.store import read_trial
from abaw_pipeline.training.index import read_fold
from tests.corpus_making import make_dataset, make_parts

RATE, FRAMES = 25, 12
PARTITIONS = {"a-1": "train", "a-2": "train", "b": "train", "v": "validation", "t": "test"}
GROUPS = {"a-1": "a", "a-2": "a"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five small trials with their parts."""
    folder = tmp_path_factory.mktemp("index")
    for number, (trial, partition) in enumerate(PARTITIONS.items()):
        values = None if partition == "test" else [(0.1, 0.2)] * FRAMES
        spans = [] if trial == "b" else [(0.03 * number, 0.2), (0.24, 0.44)]
        times = [frame / RATE for frame in range(FRAMES)]
        parts = make_parts(folder, trial, values, times=times, images=[] if trial == "v" else range(FRAMES), words=spans)
        make_dataset(parts | {"partition": partition, "group": GROUPS.get(trial, trial)}, folder / "dataset" / f"{trial}.h5")
    return folder


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy whose files a test may change, with its table of trials."""
    import shutil

    for part in ("dataset", "frames"):
        shutil.copytree(made / part, tmp_path / part)
    lines = [
        ",".join((trial, trial, partition, GROUPS.get(trial, trial), "", "", "", "", "", "")) for trial, partition in PARTITIONS.items()
    ]
    (tmp_path / "trials.csv").write_text(",".join(COLUMNS) + "\n" + "\n".join(lines) + "\n")
    return tmp_path


def build(results: Path, **folds: Any) -> dict[str, Any]:
    output = results / "dataset" / "index.json"
    settings = json.dumps({"number": 3} | folds)
    index.main(argparse.Namespace(trials=results / "trials.csv", datasets=results / "dataset", settings=settings, output=output))
    return json.loads(output.read_text())


def test_trials_folds_and_test(results):
    content = build(results)
    assert content["format_version"] == 1
    assert content["test"] == ["t"]
    assert content["folds"][0] == {"fold": 0, "train": ["a-1", "a-2", "b"], "validation": ["v"]}
    assert [fold["validation"] for fold in content["folds"]] == [["v"], ["b"], ["a-1", "a-2"]]
    entries = {entry["trial"]: entry for entry in content["trials"]}
    assert list(entries) == list(PARTITIONS)
    first = entries["a-1"]
    assert (first["path"], first["rows"], first["frames"], first["group"]) == ("a-1.h5", FRAMES, FRAMES, "a")
    assert (first["has_video"], first["has_logmel"], first["has_bert"], first["bert_dim"]) == (True, True, True, 4)
    assert (entries["v"]["has_video"], entries["b"]["has_bert"]) == (False, False)


def test_a_corpus_without_training_trials_has_an_index_without_folds(results, capsys):
    table = results / "trials.csv"
    head, *_, last = table.read_text().splitlines()
    table.write_text(f"{head}\n{last}\n")
    content = build(results)
    assert (content["folds"], content["test"], [entry["trial"] for entry in content["trials"]]) == ([], ["t"], ["t"])
    assert "no trial is for training, so the index has no folds" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no fold 0; its folds are none, since no trial is for training"):
        read_fold(results / "dataset" / "index.json", 0)


def test_word_sums_are_those_of_the_features_row_by_row(results):
    entries = {entry["trial"]: entry for entry in build(results)["trials"]}
    for trial in ("a-1", "a-2", "v", "t"):
        data = read_trial(results / "dataset" / f"{trial}.h5")
        rows = np.zeros((len(data.rows), data.words.shape[1]))
        rows[data.word >= 0] = data.words.astype(np.float64)[data.word[data.word >= 0]]
        assert entries[trial]["bert_rows"] == len(rows)
        assert entries[trial]["bert_sum"] == pytest.approx(rows.sum())
        assert entries[trial]["bert_sum_squares"] == pytest.approx((rows**2).sum())
    assert [entries["b"][name] for name in ("bert_rows", "bert_sum", "bert_sum_squares")] == [0, 0, 0]


def test_the_same_data_gives_the_same_bytes(results):
    build(results)
    first = (results / "dataset" / "index.json").read_bytes()
    build(results)
    assert (results / "dataset" / "index.json").read_bytes() == first


@pytest.mark.parametrize("part", ["dataset", "frames"])
def test_any_changed_value_changes_the_checksum_of_its_trial_alone(results, part):
    before = {entry["trial"]: entry["sha256"] for entry in build(results)["trials"]}
    with h5py.File(results / part / "b.h5", "a") as file:
        if part == "frames":
            file["frames"][3, 0, 0, 0] ^= 1
        else:
            file["label"][3, 0] = 0.3
    after = {entry["trial"]: entry["sha256"] for entry in build(results)["trials"]}
    assert {trial for trial in before if before[trial] != after[trial]} == {"b"}


def test_missing_files_are_named_and_nothing_is_written(results):
    (results / "frames" / "b.h5").unlink()
    with pytest.raises(InputError, match=r"frames/b\.h5: cannot be read"):
        build(results)
    (results / "dataset" / "b.h5").unlink()
    with pytest.raises(InputError, match=r"dataset/b\.h5"):
        build(results)
    assert not (results / "dataset" / "index.json").exists()


def test_a_file_made_for_another_group_is_refused(results):
    with h5py.File(results / "dataset" / "b.h5", "a") as file:
        file.attrs["group"] = "a"
    with pytest.raises(InputError, match=r"b\.h5: made for .*'a'.*run the dataset stage again"):
        build(results)


def test_features_of_different_sizes_are_refused(results):
    with h5py.File(results / "dataset" / "v.h5", "a") as file:
        del file["words"]
        file["words"] = np.zeros((2, 7), np.float16)
    with pytest.raises(InputError, match=r"different sizes: 4 \(t|different sizes: 4 \(a-2\), 7 \(v\)"):
        build(results)


def test_a_leak_stops_the_index(results):
    table = results / "trials.csv"
    table.write_text(table.read_text().replace("v,v,validation,v", "v,v,validation,a"))
    with pytest.raises(InputError, match="a-1, a-2 in training, v in validation"):
        build(results)
    assert not (results / "dataset" / "index.json").exists()


def test_groups_shared_with_the_test_set_are_told(results, capsys):
    table = results / "trials.csv"
    table.write_text(table.read_text().replace("t,t,test,t", "t,t,test,b"))
    with h5py.File(results / "dataset" / "t.h5", "a") as file:
        file.attrs["group"] = "b"
    build(results)
    assert "b: b (train), t (test)" in capsys.readouterr().err
