"""Rows read from where they lie: the same as through HDF5, and never other bytes than those that were meant."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.training.extents import OpenFiles, TrialArrays
from tests.training_data import write_dataset

LABEL = {"label": (np.float32, (2,))}
FRAMES = {"frames": (np.uint8, (12, 12, 3))}
ROWS = 70


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dataset")
    write_dataset(folder, lengths=(ROWS,) * 6, linked=True)
    return folder / "trial0.h5"


@settings(max_examples=50)
@given(cuts=st.lists(st.integers(0, ROWS), max_size=8).map(sorted))
def test_stretches_are_those_of_hdf5(trial: Path, cuts: list[int]) -> None:
    stretches = list(zip(cuts[::2], cuts[1::2], strict=False))
    arrays, target = TrialArrays(trial, FRAMES, {}), np.full((ROWS, 12, 12, 3), 7, np.uint8)
    arrays.read("frames", stretches, target, OpenFiles())
    with h5py.File(trial) as file:
        wanted = [file["frames"][begin:end] for begin, end in stretches]
    count = sum(end - begin for begin, end in stretches)
    np.testing.assert_array_equal(target[:count], np.concatenate([np.zeros((0, 12, 12, 3), np.uint8), *wanted]))
    assert (target[count:] == 7).all(), "what was not asked for is left alone"


def test_hdf5_holds_no_file_open(trial: Path) -> None:
    before = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
    arrays, files = TrialArrays(trial, FRAMES | LABEL, {}), OpenFiles()
    for name in (*FRAMES, *LABEL):
        arrays.rows(name, 0, 5, files)
    assert len(files) == 2, "the trial's own file and the one that its frames are in"
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == before


def test_what_need_not_be_there_may_lack(trial: Path) -> None:
    assert "label" in TrialArrays(trial, FRAMES, LABEL)
    with h5py.File(trial.with_name("unlabelled.h5"), "w") as copy, h5py.File(trial) as file:
        for name in file:
            if name not in ("label", "frames"):
                file.copy(name, copy)
        copy.attrs.update(file.attrs)
    assert "label" not in TrialArrays(trial.with_name("unlabelled.h5"), {}, LABEL)
    with pytest.raises(InputError, match="dataset 'label' cannot be opened"):
        TrialArrays(trial.with_name("unlabelled.h5"), LABEL, {})


def test_an_array_that_was_never_written_reads_as_hdf5_fills_it(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    with h5py.File(tmp_path / "trial0.h5", "r+") as file:
        del file["label"]
        file.create_dataset("label", (70, 2), np.float32, fillvalue=0.5)
    assert (TrialArrays(tmp_path / "trial0.h5", LABEL, {}).rows("label", 60, 70, OpenFiles()) == 0.5).all()


def test_rows_that_are_not_there_are_refused(trial: Path) -> None:
    with pytest.raises(InputError, match=r"label has 70 rows, but 65 to 71 are asked for; run the dataset and index stages again"):
        TrialArrays(trial, LABEL, {}).rows("label", 65, 71, OpenFiles())


def test_another_shape_is_refused(trial: Path) -> None:
    with pytest.raises(InputError, match=r"a row of label has shape \(2,\), not \(3,\)"):
        TrialArrays(trial, {"label": (np.float32, (3,))}, {})


@pytest.mark.parametrize("damage", ["replaced", "cut short", "gone"])
def test_a_file_that_changes_meanwhile_is_refused(tmp_path: Path, damage: str) -> None:
    write_dataset(tmp_path)
    path = tmp_path / "trial0.h5"
    arrays = TrialArrays(path, LABEL, {})
    if damage == "replaced":
        (tmp_path / "trial1.h5").replace(path)
    elif damage == "cut short":
        os.truncate(path, 1000)
    else:
        path.unlink()
    with pytest.raises(InputError, match=r"trial0.h5: (was changed while training read it|cannot be opened any more)"):
        arrays.rows("label", 0, 5, OpenFiles())


def test_a_file_cut_short_while_it_is_open_is_noticed(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    arrays, files = TrialArrays(tmp_path / "trial0.h5", LABEL, {}), OpenFiles()
    arrays.rows("label", 0, 5, files)
    os.truncate(tmp_path / "trial0.h5", 1000)
    with pytest.raises(InputError, match="ends before what it should hold"):
        arrays.rows("label", 0, 70, files)


def test_a_missing_link_is_told(tmp_path: Path) -> None:
    write_dataset(tmp_path, linked=True)
    (tmp_path / "trial0.frames.h5").unlink()
    with pytest.raises(InputError, match="is a linked file gone"):
        TrialArrays(tmp_path / "trial0.h5", FRAMES, {})
