"""Batches hold exactly the rows of their windows, wherever these lie in the files; files and memory stay bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.training.index import Scaling, Trial, partition_scalings, read_fold, word_scaling
from abaw_pipeline.training.loader import WindowLoader, WindowReader, frame_size, partition_windows, runs
from tests.training_data import write_dataset

ALL = ("video", "logmel", "bert")
LENGTH = 20


def reader_of(index: Path, modalities: tuple[str, ...] = ALL, fold: int = 0) -> WindowReader:
    trials = read_fold(index, fold)[0].train
    return WindowReader(trials, partition_windows(trials, LENGTH, 15), LENGTH, modalities, frame_size(trials) or 12)


def expected(reader: WindowReader, number: int) -> dict[str, np.ndarray]:
    """A window spelled out row by row from the file."""
    window = reader.windows[number]
    with h5py.File(reader.trials[window.trial].path) as file:
        rows = range(window.start, window.stop)
        words, word = file["words"][()], file["word"][()]
        return {
            "frames": np.stack([file["frames"][file["frame"][row]] for row in rows]),
            "logmel": np.stack([file["logmel"][s : s + 96] for s in file["logmel_start"][window.start : window.stop]]),
            "bert": np.stack([words[word[row]] if word[row] >= 0 else np.zeros(words.shape[1]) for row in rows]),
            "label": file["label"][window.start : window.stop],
        }


def store_anew(path: Path, name: str, **how: Any) -> None:
    """Store a dataset in another way: chunked, compressed, as another type, or not at all yet."""
    with h5py.File(path, "r+") as file:
        values = file[name][()]
        del file[name]
        file.create_dataset(name, data=values, **how)


@pytest.mark.parametrize("options", [{}, {"gap": 31}, {"linked": True}])
@pytest.mark.parametrize("stored", [{}, {"chunks": True}, {"compression": "gzip"}, {"dtype": ">f8"}], ids=str)
def test_every_window_holds_its_rows(tmp_path: Path, options: dict, stored: dict) -> None:
    index = write_dataset(tmp_path, **options)
    for path in tmp_path.glob("trial?.h5") if stored else ():
        for name in ("label", "logmel", "words", *(("frames",) if not options.get("linked") else ())):
            store_anew(path, name, **stored)
    reader = reader_of(index)
    numbers = list(range(len(reader)))[::-1]
    batch = reader[numbers]
    for place, number in enumerate(numbers):
        truth = expected(reader, number)
        count = int(batch["rows"][place])
        assert count == len(truth["label"])
        np.testing.assert_array_equal(batch["frames"][place, :count], truth["frames"])
        np.testing.assert_array_equal(batch["label"][place, :count], truth["label"])
        starts = batch["logmel_start"][place, :count]
        np.testing.assert_array_equal(np.stack([batch["logmel"][place, s : s + 96] for s in starts]), truth["logmel"])
        np.testing.assert_array_equal(batch["words"][place][batch["word"][place, :count]], truth["bert"])
    assert batch["frames"].dtype == torch.uint8


def test_a_short_trial_is_padded_with_zeros(tmp_path: Path) -> None:
    reader = reader_of(write_dataset(tmp_path, lengths=(7, 9, 30, 30, 30, 30)))
    batch = reader[[0, 1]]
    assert batch["rows"].tolist() == [7, 9]
    assert not batch["frames"][0, 7:].any()
    assert not batch["label"][0, 7:].any()
    assert not batch["word"][0, 7:].any()


def test_rows_of_one_picture_all_get_it(tmp_path: Path) -> None:
    index = write_dataset(tmp_path)
    with h5py.File(tmp_path / "trial0.h5", "r+") as file:
        frame = file["frame"][()]
        frame[3:6] = frame[3]  # as `rows: report` or a longer label track make them
        file["frame"][...] = frame
    reader = reader_of(index)
    np.testing.assert_array_equal(reader[[0]]["frames"][0], expected(reader, 0)["frames"])


def test_absent_modalities_are_marked_and_zero(tmp_path: Path) -> None:
    reader = reader_of(write_dataset(tmp_path, without={"logmel": [0], "bert": [1], "video": [0]}))
    first, last = 0, len(reader) - 1
    batch = reader[[first, last]]
    assert [batch[f"has_{name}"].tolist() for name in ALL] == [[False, True], [False, True], [True, False]]
    assert not batch["frames"][0].any()
    assert not batch["logmel"][0].any()
    assert not batch["word"][1].any()


def test_only_asked_modalities_are_read(tmp_path: Path) -> None:
    batch = reader_of(write_dataset(tmp_path), ("logmel",))[[0]]
    assert "frames" not in batch
    assert "words" not in batch


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_change_nothing(tmp_path: Path, workers: int) -> None:
    reader = reader_of(write_dataset(tmp_path))
    order = [[3, 0], [1, 2], [4]]
    reader[[0]]  # a file is open before the workers fork
    loader = WindowLoader(reader, workers, pin_memory=False)
    for _ in range(2):
        for batch, numbers in zip(loader.batches(order), order, strict=True):
            whole = reader[numbers]
            assert batch.keys() == whole.keys()
            assert all(torch.equal(batch[name], whole[name]) for name in whole)


def test_loading_leaves_torchs_random_numbers_alone(tmp_path: Path) -> None:
    loader = WindowLoader(reader_of(write_dataset(tmp_path)), 0, pin_memory=False)
    before = torch.get_rng_state()
    list(loader.batches([[0], [1]]))
    assert torch.equal(before, torch.get_rng_state())


def test_few_files_stay_open(tmp_path: Path) -> None:
    reader = reader_of(write_dataset(tmp_path, lengths=(30,) * 30))
    reader.open_files.most = 4
    for number in range(len(reader)):
        reader[[number]]
        assert len(reader.open_files) <= 4
    truth = expected(reader, 0)
    np.testing.assert_array_equal(reader[[0]]["frames"][0], truth["frames"])


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    trials = read_fold(write_dataset(tmp_path), 0)[0].train
    with pytest.raises(InputError, match=r"trial0.h5: a row of frames has shape \(12, 12, 3\), not \(10, 10, 3\) as in other trials"):
        WindowReader(trials, partition_windows(trials, LENGTH, 15), LENGTH, ALL, 10)


@given(st.lists(st.integers(0, 400), max_size=40), st.integers(1, 96))
def test_stretches_cover_every_item_where_it_says(first: list[int], length: int) -> None:
    stretches, places = runs(np.array(first, dtype=np.int64), length)
    put_together = np.concatenate([np.arange(begin, end) for begin, end in stretches] or [np.zeros(0)])
    assert len(np.unique(put_together)) == len(put_together)
    for item, place in zip(first, places, strict=True):
        np.testing.assert_array_equal(put_together[place : place + length], np.arange(item, item + length))
    if first:
        needed = np.unique(np.concatenate([np.arange(item, item + length) for item in first]))
        assert len(put_together) == len(needed)


def trial(name: str, rows: int, total: float, squares: float, dimension: int = 2) -> Trial:
    return Trial(
        name=name,
        path=Path(name),
        rows=rows,
        frames=rows,
        has_video=True,
        has_logmel=True,
        has_bert=True,
        bert_dim=dimension,
        bert_rows=rows,
        bert_sum=total,
        bert_sum_squares=squares,
    )


def test_word_scaling_is_the_mean_and_deviation_over_all_rows() -> None:
    values = np.random.default_rng(0).normal(3, 2, (50, 2))
    parts = [trial(str(n), len(part), part.sum(), (part**2).sum()) for n, part in enumerate(np.split(values, [10, 25]))]
    scaling = word_scaling(parts)
    assert scaling.mean == pytest.approx(values.mean())
    assert scaling.std == pytest.approx(values.std())
    assert word_scaling([]) == Scaling(0.0, 1.0)
    assert word_scaling([trial("zero", 5, 0.0, 0.0)]) == Scaling(0.0, 1.0)


def test_normalisation_by_the_training_part_or_by_each_partition(tmp_path: Path) -> None:
    fold = read_fold(write_dataset(tmp_path), 0)[0]
    ours, theirs = partition_scalings(fold, "train"), partition_scalings(fold, "partition")
    assert ours["validation"] == ours["test"] == ours["train"] == theirs["train"]
    assert theirs["validation"] == word_scaling(fold.validation) != theirs["train"]
    assert theirs["test"] == word_scaling(fold.test) != theirs["train"]


def test_an_unknown_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no fold 7; its folds are 0, 1"):
        read_fold(write_dataset(tmp_path), 7)
    with pytest.raises(InputError, match="cannot be read"):
        read_fold(tmp_path / "none.json", 0)
