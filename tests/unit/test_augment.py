"""Crops, flips and gathering: each equals the plain row-by-row statement, and chance depends on seed, epoch and window only."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as F

from abaw_pipeline.training.augment import (
    Assembly,
    centre_crops,
    crop_and_scale,
    epoch_crops,
    epoch_order,
    gather_logmel,
    gather_words,
)
from abaw_pipeline.training.index import Scaling


@given(st.integers(0, 2**31), st.integers(0, 100), st.integers(1, 200), st.integers(1, 12))
def test_an_epochs_order_holds_every_window_once(seed: int, epoch: int, windows: int, batch_size: int) -> None:
    order = epoch_order(seed, epoch, windows, batch_size)
    assert sorted(number for batch in order for number in batch) == list(range(windows))
    assert all(len(batch) == batch_size for batch in order[:-1])
    assert order == epoch_order(seed, epoch, windows, batch_size)


def test_order_and_crops_change_with_epoch_and_data_seed() -> None:
    assert epoch_order(0, 0, 50, 4) != epoch_order(0, 1, 50, 4) != epoch_order(1, 1, 50, 4)
    assert (epoch_crops(0, 0, 50, 8) != epoch_crops(0, 1, 50, 8)).any()
    assert (epoch_crops(0, 1, 50, 8) != epoch_crops(1, 1, 50, 8)).any()


def test_crops_use_every_position_and_both_flips_evenly() -> None:
    top, left, flip = epoch_crops(0, 0, 20_000, 8).T
    for drawn, choices in ((top, 9), (left, 9), (flip, 2)):
        counts = np.bincount(drawn, minlength=choices)
        assert len(counts) == choices
        assert abs(counts / len(drawn) - 1 / choices).max() < 0.01


@settings(max_examples=30)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 5), st.integers(0, 4))
def test_crop_flip_and_scale_equal_the_plain_statement(seed: int, batch: int, rows: int, margin: int) -> None:
    generator = np.random.default_rng(seed)
    frames = generator.integers(0, 256, (batch, rows, 6 + margin, 6 + margin, 3), dtype=np.uint8)
    crops = generator.integers(0, [margin + 1, margin + 1, 2], (batch, 3))
    video = crop_and_scale(torch.from_numpy(frames), crops, 6)
    assert video.shape == (batch, rows, 3, 6, 6)
    for b, (top, left, flip) in enumerate(crops):
        for t in range(rows):
            picture = frames[b, t, top : top + 6, left : left + 6].astype(np.float64) / 127.5 - 1
            picture = picture[:, ::-1] if flip else picture
            np.testing.assert_allclose(video[b, t], picture.transpose(2, 0, 1), atol=1e-6)


def test_torchvision_s_transforms_agree() -> None:
    generator = np.random.default_rng(0)
    frames = torch.from_numpy(generator.integers(0, 256, (2, 3, 48, 48, 3), dtype=np.uint8))
    crops = np.array([[3, 8, 1], [0, 5, 0]])
    expected = [
        F.crop(F.horizontal_flip(pictures) if flip else pictures, int(top), int(8 - left if flip else left), 40, 40)
        for pictures, (top, left, flip) in zip(frames.permute(0, 1, 4, 2, 3), crops, strict=True)
    ]
    scaled = F.normalize(F.to_dtype(torch.stack(expected), torch.float32, scale=True), [0.5] * 3, [0.5] * 3)
    torch.testing.assert_close(crop_and_scale(frames, crops, 40), scaled, atol=1e-6, rtol=0)
    middle = F.center_crop(frames.permute(0, 1, 4, 2, 3), [40, 40]).float() / 127.5 - 1
    torch.testing.assert_close(crop_and_scale(frames, centre_crops(2, 8), 40), middle, atol=1e-6, rtol=0)


def test_the_centre_is_the_centre() -> None:
    frames = torch.zeros(1, 1, 48, 48, 3, dtype=torch.uint8)
    frames[0, 0, 4:44, 4:44] = 255
    assert (crop_and_scale(frames, centre_crops(1, 8), 40) == 1).all()


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 3), st.integers(1, 6), st.integers(96, 130))
def test_mel_windows_begin_at_their_starts(seed: int, batch: int, rows: int, length: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logmel = torch.randn(batch, length, 4, generator=generator).half()
    starts = torch.randint(0, length - 95, (batch, rows), generator=generator)
    absent = torch.rand(batch, rows, generator=generator) < 0.3
    gathered = gather_logmel(logmel, starts, absent)
    assert gathered.shape == (batch, rows, 96, 4)
    for b in range(batch):
        for t in range(rows):
            truth = torch.zeros(96, 4) if absent[b, t] else logmel[b, starts[b, t] : starts[b, t] + 96].float()
            assert torch.equal(gathered[b, t], truth)


def test_words_are_scaled_with_the_zero_vector_between_them() -> None:
    words = torch.tensor([[[0.0, 0.0], [1.0, 3.0]]]).half()
    real = torch.tensor([[True, True, False]])
    gathered = gather_words(words, torch.tensor([[1, 0, 0]]), Scaling(1.0, 2.0), real)
    assert gathered.tolist() == [[[0.0, 1.0], [-0.5, -0.5], [0.0, 0.0]]]


def assembled(masked: bool, rows: list[int], has: list[bool]) -> dict[str, torch.Tensor]:
    batch, length = len(rows), 5
    host = {
        "window": torch.arange(batch),
        "rows": torch.tensor(rows),
        "label": torch.zeros(batch, length, 2),
        "has_logmel": torch.tensor(has),
        "has_bert": torch.ones(batch, dtype=torch.bool),
        "logmel": torch.ones(batch, 100, 64).half(),
        "logmel_start": torch.zeros(batch, length, dtype=torch.int64),
        "words": torch.ones(batch, 1, 3).half(),
        "word": torch.zeros(batch, length, dtype=torch.int64),
    }
    assembly = Assembly(modalities=("logmel", "bert"), crop=4, scaling=Scaling(0, 1), masked=masked, device=torch.device("cpu"))
    return assembly.batch(host, centre_crops(batch, 0))


def test_masks_are_given_only_where_something_is_missing() -> None:
    assert assembled(True, [5, 5], [True, True]).keys() == {"logmel", "bert"}
    batch = assembled(True, [5, 3], [False, True])
    assert batch["mask"].sum(1).tolist() == [5, 3]
    assert batch["logmel_mask"].tolist() == [[False] * 5, [True] * 5]
    assert "bert_mask" not in batch
    assert batch["logmel"].flatten(2).any(2).sum(1).tolist() == [0, 3]


def test_unmasked_padding_gives_zeros_and_no_masks() -> None:
    batch = assembled(False, [5, 3], [False, True])
    assert batch.keys() == {"logmel", "bert"}
    assert batch["logmel"].flatten(2).any(2).sum(1).tolist() == [0, 3]
