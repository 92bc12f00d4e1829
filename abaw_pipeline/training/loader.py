"""Windows straight from the trials' HDF5 files into fixed-size tensors: what a worker does, no arithmetic, no chance.

Pictures stay uint8 and whole, the spectrogram is read once per window and words once per word; cropping, flipping,
scaling and the gathering of mel windows and word vectors are the device's work (`augment`).

Shapes: B windows, T rows of a window, S edge of a picture, L spectrogram rows, W words, D features of a word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from abaw_pipeline.store import LOGMEL_BANDS, LOGMEL_WINDOW, open_trial
from abaw_pipeline.training.extents import OpenFiles, RowType, TrialArrays
from abaw_pipeline.training.index import Trial
from abaw_pipeline.training.vectors import Vectors
from abaw_pipeline.training.windows import window_spans

HostBatch = dict[str, Tensor]
"""Keys: window (B) number of the window, rows (B) real rows; and, as modalities ask for them,
frames (B,T,S,S,3) uint8; logmel (B,L,64) float16 and logmel_start (B,T); words (B,W+1,D) float16, of which row 0 is zero,
and word (B,T) into it; label (B,T,2); and for each of these modalities has_<modality> (B). Instead of all this,
<modality>_vectors (B,T,D) float32 for one that comes as vectors."""


@dataclass(frozen=True)
class Window:
    """Rows [start, stop) of a trial, which is given by its place in the partition."""

    trial: int
    start: int
    stop: int


def partition_windows(trials: Sequence[Trial], window: int, hop: int) -> list[Window]:
    """All windows of a partition, trial after trial."""
    return [Window(number, start, stop) for number, trial in enumerate(trials) for start, stop in window_spans(trial.rows, window, hop)]


def runs(first: NDArray[np.integer[Any]], length: int) -> tuple[list[tuple[int, int]], NDArray[np.int64]]:
    """The stretches of a long array that items [first, first + length) cover, and each item's place when these are put together.

    Rows left out in the middle of a trial thus cost nothing, and neighbours that overlap are read once.
    """
    if not first.size:
        return [], np.zeros(0, dtype=np.int64)
    starts, inverse = np.unique(first, return_inverse=True)
    breaks = np.flatnonzero(np.diff(starts) > length) + 1
    begins = starts[np.concatenate([[0], breaks])].astype(np.int64)
    ends = starts[np.concatenate([breaks - 1, [len(starts) - 1]])].astype(np.int64) + length
    gaps = begins - np.concatenate([[0], np.cumsum(ends - begins)[:-1]])
    stretch = np.searchsorted(begins, starts, side="right") - 1
    return list(zip(begins.tolist(), ends.tolist(), strict=True)), (starts - gaps[stretch])[inverse]


class WindowReader(Dataset[HostBatch]):
    """Reads batches of windows; `reader[[3, 17, 4]]` is the batch of these windows. Holds a bounded number of files open.

    `vectors` are the modalities that come as vectors; they are not among `modalities`.
    Raises InputError when a trial's file lacks something, or its pictures or words have another size than the others'.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        windows: Sequence[Window],
        length: int,
        modalities: Sequence[str],
        frame_size: int,
        vectors: Mapping[str, Vectors] | None = None,
    ) -> None:
        self.trials, self.windows, self.length = list(trials), list(windows), length
        self.modalities, self.frame_size = tuple(modalities), frame_size
        self.vectors = dict(vectors or {})
        self.bert_dim = max((trial.bert_dim for trial in trials), default=0)
        self.open_files = OpenFiles()
        self._arrays = {number: self._find_arrays(self.trials[number]) for number in sorted({window.trial for window in windows})}

    def _find_arrays(self, trial: Trial) -> TrialArrays:
        """Where what is read of a trial lies."""
        per_row, size = (), self.frame_size
        wanted: dict[str, RowType] = {"frame": (np.int64, per_row)} if self.vectors else {}
        if "video" in self.modalities and trial.has_video:
            wanted |= {"frame": (np.int64, per_row), "frames": (np.uint8, (size, size, 3))}
        if "logmel" in self.modalities and trial.has_logmel:
            wanted |= {"logmel_start": (np.int32, per_row), "logmel": (np.float16, (LOGMEL_BANDS,))}
        if "bert" in self.modalities and trial.has_bert:
            wanted |= {"word": (np.int32, per_row), "words": (np.float16, (self.bert_dim,))}
        return TrialArrays(trial.path, wanted, where_given={"label": (np.float32, (2,))})

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, numbers: Sequence[int]) -> HostBatch:
        chosen = [self.windows[number] for number in numbers]
        batch: HostBatch = {
            "window": torch.tensor(numbers, dtype=torch.int64),
            "rows": torch.tensor([window.stop - window.start for window in chosen]),
            "label": self._labels(chosen),
        }
        for modality in self.modalities:
            batch[f"has_{modality}"] = torch.tensor([getattr(self.trials[window.trial], f"has_{modality}") for window in chosen])
        if "video" in self.modalities:
            batch["frames"] = self._frames(chosen)
        if "logmel" in self.modalities:
            batch |= self._logmel(chosen)
        if "bert" in self.modalities:
            batch |= self._words(chosen)
        for modality, vectors in self.vectors.items():
            batch[f"{modality}_vectors"] = self._vectors(vectors, chosen)
        return batch

    def _rows(self, name: str, window: Window) -> NDArray[Any]:
        """A window's part of an array with one entry per row."""
        return self._arrays[window.trial].rows(name, window.start, window.stop, self.open_files)

    def _read(self, name: str, window: Window, stretches: Sequence[tuple[int, int]], target: NDArray[Any]) -> None:
        """Stretches of an array of a window's trial, one after the other, into the front of `target`."""
        self._arrays[window.trial].read(name, stretches, target, self.open_files)

    def _labels(self, windows: Sequence[Window]) -> Tensor:
        labels = np.zeros((len(windows), self.length, 2), dtype=np.float32)
        for place, window in enumerate(windows):
            if "label" in self._arrays[window.trial]:
                self._read("label", window, [(window.start, window.stop)], labels[place])
        return torch.from_numpy(labels)

    def _frames(self, windows: Sequence[Window]) -> Tensor:
        size = self.frame_size
        frames = np.empty((len(windows), self.length, size, size, 3), dtype=np.uint8)
        for place, window in enumerate(windows):
            filled = 0
            if self.trials[window.trial].has_video:
                shown = self._rows("frame", window)
                stretches, places = runs(shown, 1)
                filled = len(shown)
                covered = sum(end - begin for begin, end in stretches)
                in_order = covered == filled and bool((places == np.arange(filled)).all())
                target = frames[place] if in_order else np.empty((covered, size, size, 3), dtype=np.uint8)
                self._read("frames", window, stretches, target)
                if not in_order:  # a picture shown by several rows
                    frames[place, :filled] = target[places]
            frames[place, filled:] = 0
        return torch.from_numpy(frames)

    def _logmel(self, windows: Sequence[Window]) -> HostBatch:
        starts = np.zeros((len(windows), self.length), dtype=np.int64)
        plans = []
        for place, window in enumerate(windows):
            plan: list[tuple[int, int]] = []
            if self.trials[window.trial].has_logmel:
                plan, places = runs(self._rows("logmel_start", window), LOGMEL_WINDOW)
                starts[place, : len(places)] = places
            plans.append(plan)
        longest = max(LOGMEL_WINDOW, *(sum(end - begin for begin, end in plan) for plan in plans))
        logmel = np.zeros((len(windows), longest, LOGMEL_BANDS), dtype=np.float16)
        for place, (plan, window) in enumerate(zip(plans, windows, strict=True)):
            if plan:
                self._read("logmel", window, plan, logmel[place])
        return {"logmel": torch.from_numpy(logmel), "logmel_start": torch.from_numpy(starts)}

    def _words(self, windows: Sequence[Window]) -> HostBatch:
        index = np.zeros((len(windows), self.length), dtype=np.int64)
        plans = []
        for place, window in enumerate(windows):
            plan: list[tuple[int, int]] = []
            if self.trials[window.trial].has_bert:
                word = self._rows("word", window)
                said = word >= 0
                plan, places = runs(word[said], 1)
                index[place, np.flatnonzero(said)] = places + 1
            plans.append(plan)
        most = max(sum(end - begin for begin, end in plan) for plan in plans)
        words = np.zeros((len(windows), most + 1, self.bert_dim), dtype=np.float16)
        for place, (plan, window) in enumerate(zip(plans, windows, strict=True)):
            if plan:
                self._read("words", window, plan, words[place, 1:])
        return {"words": torch.from_numpy(words), "word": torch.from_numpy(index)}

    def _vectors(self, vectors: Vectors, windows: Sequence[Window]) -> Tensor:
        rows = np.zeros((len(windows), self.length, vectors.dim), dtype=np.float32)
        for place, window in enumerate(windows):
            rows[place, : window.stop - window.start] = vectors.read(self.trials[window.trial], self._rows("frame", window))
        return torch.from_numpy(rows)

    def labels(self) -> NDArray[np.float32]:
        """(rows, 2) of all trials, one after the other; NaN where a trial has none."""
        return np.concatenate([self._row_values(number, "label") for number in range(len(self.trials))] or [np.zeros((0, 2), np.float32)])

    def kept_frames(self) -> NDArray[np.int64]:
        """(rows,) kept frame numbers from 0 of all trials, one after the other."""
        return np.concatenate([self._row_values(number, "rows") for number in range(len(self.trials))] or [np.zeros(0, np.int64)])

    def _row_values(self, number: int, name: str) -> NDArray[Any]:
        with open_trial(self.trials[number].path) as file:
            if name not in file:
                return np.full((self.trials[number].rows, 2), np.nan, dtype=np.float32)
            return np.asarray(file[name][()])


class WindowLoader:
    """Hands out batches in a given order, read ahead by `workers` processes (0: by this one, when asked for)."""

    def __init__(self, reader: WindowReader, workers: int, pin_memory: bool) -> None:
        self.reader = reader
        self._order: list[list[int]] = []
        # The generator only feeds the workers' seeds, which nothing here uses: without it, torch's own would be drawn from.
        self._loader: DataLoader[HostBatch] = DataLoader(
            reader,
            batch_size=None,
            sampler=self._order,
            num_workers=workers,
            pin_memory=pin_memory,
            persistent_workers=workers > 0,
            generator=torch.Generator(),
        )

    def batches(self, order: Sequence[Sequence[int]]) -> Iterator[HostBatch]:
        """The batches of these window numbers, in this order."""
        self._order[:] = [list(numbers) for numbers in order]
        return iter(self._loader)


def frame_size(trials: Sequence[Trial]) -> int | None:
    """Edge of the stored pictures in pixels; None when no trial has any."""
    for trial in trials:
        if trial.has_video:
            with open_trial(trial.path) as file:
                return int(file["frames"].shape[1])
    return None
