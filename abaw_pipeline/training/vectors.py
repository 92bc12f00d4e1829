"""Vectors that the user brings for a modality: one `{trial}.h5` per trial with a dataset `vectors` (F, D), one row per frame.

F frames of a trial, D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from abaw_pipeline.errors import InputError
from abaw_pipeline.store import BROKEN
from abaw_pipeline.training.index import Trial

DATASET = "vectors"


@dataclass(frozen=True)
class Vectors:
    """One modality's folder of vectors, and their length."""

    folder: Path
    dim: int

    def read(self, trial: Trial, frame: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of these frames, (len(frame), D). Raises InputError where they are no numbers or not there."""
        path = self.folder / f"{trial.name}.h5"
        first, stop = int(frame.min()), int(frame.max()) + 1
        try:
            with h5py.File(path) as file:
                vectors = np.asarray(file[DATASET][first:stop], dtype=np.float32)[frame - first]
        except BROKEN as error:
            raise InputError(f"{path}: cannot be read ({error}); make it again") from None
        if not np.isfinite(vectors).all():
            bad = int(frame[~np.isfinite(vectors).all(axis=1)][0])
            raise InputError(f"{path}: the vector of frame {bad} holds what is no number; mend it where the vectors are made")
        return vectors


def find_vectors(folder: Path, trials: Sequence[Trial]) -> Vectors:
    """The vectors in `folder`, after a look at every trial's file: it is there, and has a vector of one length for each frame.

    Raises InputError with the file and the remedy.
    """
    dims: dict[int, Path] = {}
    for trial in trials:
        path = folder / f"{trial.name}.h5"
        if not path.is_file():
            raise InputError(f"{path}: missing; make vectors for this trial too, or take the modality out of the model's `precomputed`")
        count, dim = _shape(path)
        if count != trial.frames:
            raise InputError(f"{path}: {count} vectors for {trial.frames} frames; make one per frame of the trial, in their order")
        dims.setdefault(dim, path)
    if len(dims) > 1:
        found = ", ".join(f"{dim} in {path}" for dim, path in dims.items())
        raise InputError(f"{folder}: vectors differ in length ({found}); make all trials' vectors the same way")
    return Vectors(folder, next(iter(dims)))


def file_states(vectors: Mapping[str, Vectors], trials: Sequence[Trial]) -> dict[str, list[tuple[int, int]]]:
    """Bytes and time of change (ns) of every trial's file: whether a run that was broken off may go on with them."""
    states = {}
    for modality, found in vectors.items():
        stats = [(found.folder / f"{trial.name}.h5").stat() for trial in trials]
        states[modality] = [(stat.st_size, stat.st_mtime_ns) for stat in stats]
    return states


def _shape(path: Path) -> tuple[int, int]:
    try:
        with h5py.File(path) as file:
            shape, kind = tuple(map(int, file[DATASET].shape)), file[DATASET].dtype.kind
    except (*BROKEN, AttributeError) as error:
        raise InputError(f"{path}: no dataset {DATASET!r} can be read ({error}); make the file again") from None
    if len(shape) != 2 or not shape[1] or kind != "f":
        raise InputError(f"{path}: {DATASET!r} must be floats (frames, numbers), not {shape} of kind {kind!r}; make the file again")
    return shape[0], shape[1]
