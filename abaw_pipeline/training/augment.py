"""What the device does with a batch: crop and flip by numbers drawn for (data seed, epoch, window), scale, gather.

Shapes: B windows, T rows, S edge of a stored picture, C edge of a crop, D features of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from abaw_pipeline.models.rows import places_of
from abaw_pipeline.store import LOGMEL_WINDOW
from abaw_pipeline.training.index import Scaling
from abaw_pipeline.training.loader import HostBatch

ORDER, PICTURES = 0, 1  # streams of random numbers


def epoch_order(data_seed: int, epoch: int, windows: int, batch_size: int) -> list[list[int]]:
    """All window numbers in the random order of this epoch, in batches; the last one may be smaller."""
    order = np.random.default_rng([data_seed, epoch, ORDER]).permutation(windows).tolist()
    return [order[first : first + batch_size] for first in range(0, windows, batch_size)]


def epoch_crops(data_seed: int, epoch: int, windows: int, margin: int) -> NDArray[np.int64]:
    """(windows, 3): top, left (each 0 to `margin`) and flip (0 or 1) of every window in this epoch, all its frames alike."""
    return np.random.default_rng([data_seed, epoch, PICTURES]).integers(0, [margin + 1, margin + 1, 2], size=(windows, 3))


def centre_crops(windows: int, margin: int) -> NDArray[np.int64]:
    """(windows, 3): the middle of every picture, never flipped."""
    return np.tile([margin // 2, margin // 2, 0], (windows, 1))


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """How a partition's host batches become what a network reads."""

    modalities: Sequence[str]
    """Those that come as pictures, spectrograms and words."""
    vectors: Sequence[str] = ()
    """Those that come as vectors: every row has one, and it goes in as it is."""
    crop: int
    scaling: Scaling
    masked: bool
    """Give masks where rows are padding or modalities absent; false: zeros count as data, as in the authors' code."""
    device: torch.device

    def batch(self, host: HostBatch, crops: NDArray[np.int64]) -> dict[str, Tensor]:
        """The network's batch. `crops` (windows, 3) holds top, left and flip by window number.

        Padding is zeros (black pictures). A mask is left out where it would be true everywhere, and beside each stands where
        it is true: nothing waits for the device to find out.
        """
        length = host["label"].shape[1]
        batch: dict[str, Tensor] = {}
        real_BT = None
        if bool((host["rows"] < length).any()):
            real_BT = torch.arange(length) < host["rows"][:, None]
            if self.masked:
                batch |= self._mask("", real_BT, real_BT)
        for modality in self.modalities:
            present_B = host[f"has_{modality}"]
            if self.masked and not bool(present_B.all()):
                present_BT = present_B[:, None].expand(-1, length)
                batch |= self._mask(f"{modality}_", present_BT, present_BT if real_BT is None else present_BT & real_BT)
        if real_BT is not None:
            real_BT = real_BT.to(self.device, non_blocking=True)
        if "video" in self.modalities:
            frames = host["frames"].to(self.device, non_blocking=True)
            batch["video"] = crop_and_scale(frames, crops[host["window"].numpy()], self.crop)
        if "logmel" in self.modalities:
            logmel, starts = (host[name].to(self.device, non_blocking=True) for name in ("logmel", "logmel_start"))
            absent_BT = absent_rows(real_BT, host["has_logmel"])
            batch["logmel"] = gather_logmel(logmel, starts, absent_BT)
        if "bert" in self.modalities:
            words, index = (host[name].to(self.device, non_blocking=True) for name in ("words", "word"))
            batch["bert"] = gather_words(words, index, self.scaling, real_BT)
        for modality in self.vectors:
            batch[modality] = host[f"{modality}_vectors"].to(self.device, non_blocking=True)
        return batch

    def _mask(self, prefix: str, mask_BT: Tensor, real_BT: Tensor) -> dict[str, Tensor]:
        """A mask and the places of real rows, found on the host and sent to the device."""
        return {
            f"{prefix}mask": mask_BT.to(self.device, non_blocking=True),
            f"{prefix}places": places_of(real_BT).to(self.device, non_blocking=True),
        }


def absent_rows(real_BT: Tensor | None, present_B: Tensor) -> Tensor | None:
    """Rows that are padding or lack the modality; None when there is none."""
    if bool(present_B.all()):
        return None if real_BT is None else ~real_BT
    absent_B1 = ~present_B[:, None]
    return absent_B1 if real_BT is None else absent_B1.to(real_BT.device) | ~real_BT


def crop_and_scale(frames_BTSS3: Tensor, crops_B3: NDArray[np.int64], size: int) -> Tensor:
    """uint8 pictures to (B, T, 3, C, C) in [-1, 1]: one crop and flip per window. Channels come last in memory."""
    batch, rows = frames_BTSS3.shape[:2]
    video_BTCC3 = torch.empty((batch, rows, size, size, 3), dtype=torch.float32, device=frames_BTSS3.device)
    for number, (top, left, flip) in enumerate(crops_B3.tolist()):
        cut = frames_BTSS3[number, :, top : top + size, left : left + size]
        video_BTCC3[number] = cut.flip(2) if flip else cut
    return video_BTCC3.div_(127.5).sub_(1.0).permute(0, 1, 4, 2, 3)


def gather_logmel(logmel_BLM: Tensor, starts_BT: Tensor, absent_BT: Tensor | None) -> Tensor:
    """(B, T, 96, bands): for every row the 96 spectrogram rows from its start; zeros where absent."""
    batch, length, bands = logmel_BLM.shape
    logmel_BLM = logmel_BLM.float().contiguous()
    # Every stretch of 96 rows lies in one piece of memory, so a row's window is one copy.
    windows = logmel_BLM.as_strided(
        (batch, length - LOGMEL_WINDOW + 1, LOGMEL_WINDOW * bands), (length * bands, bands, 1), logmel_BLM.storage_offset()
    )
    window_of = torch.arange(batch, device=starts_BT.device)[:, None].expand_as(starts_BT)
    gathered = windows[window_of, starts_BT].view(*starts_BT.shape, LOGMEL_WINDOW, bands)
    return gathered if absent_BT is None else gathered.masked_fill_(absent_BT.to(gathered.device)[..., None, None], 0.0)


def gather_words(words_BWD: Tensor, index_BT: Tensor, scaling: Scaling, real_BT: Tensor | None) -> Tensor:
    """(B, T, D): every row's word vector, scaled; a row between words is a scaled zero vector, padding is zero."""
    scaled_BWD = (words_BWD.float() - scaling.mean) / scaling.std
    gathered = scaled_BWD.gather(1, index_BT[..., None].expand(-1, -1, words_BWD.shape[-1]))
    return gathered if real_BT is None else gathered.masked_fill_(~real_BT[..., None], 0.0)
