"""Rows of the arrays in HDF5 files, read from where they lie on disk.

An array that lies in one piece, which is how the dataset stage writes all that training reads, needs HDF5 only to say where.
That is asked once, before training: each file that HDF5 holds open costs half a megabyte, and files opened and closed between
batches leave holes in the heap, so that memory would grow with the corpus. Other arrays (chunked, compressed, of another
type) are read through HDF5, which opens and closes their file each time.
"""

from __future__ import annotations

import math
import os
import resource
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from abaw_pipeline.errors import InputError
from abaw_pipeline.store import open_trial


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an array lies."""

    path: str
    """Of the file that holds its bytes: the trial's own, or the one that it links to."""
    state: tuple[int, int]
    """Size and time of change (ns) of that file when the place was found."""
    offset: int | None
    """Of the first byte; None where only HDF5 can read it."""
    rows: int
    row_bytes: int


class OpenFiles:
    """Files held open for reading, a bounded number of them; the one unused for longest is closed first."""

    def __init__(self, most: int | None = None) -> None:
        """`most` files at a time; None: a quarter of what the process may open (there are three partitions), up to 256."""
        self.most = most or max(8, min(256, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4))
        self._open: OrderedDict[str, FileIO] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def read(self, extent: Extent, first_row: int, target: NDArray[Any]) -> None:
        """Fill `target` with the rows from `first_row` on. Raises InputError for a file that is gone, short or not the same."""
        left = target.reshape(-1).view(np.uint8).data
        place = (extent.offset or 0) + first_row * extent.row_bytes
        file = self._file(extent)
        while left:
            count = os.preadv(file.fileno(), [left], place)
            if count == 0:
                raise InputError(f"{extent.path}: ends before what it should hold; delete it and run its stage again")
            left, place = left[count:], place + count

    def _file(self, extent: Extent) -> FileIO:
        file = self._open.get(extent.path)
        if file is None:
            try:
                file = FileIO(extent.path)
            except OSError as error:
                raise InputError(f"{extent.path}: cannot be opened any more ({error}); run its stage again, then training") from None
            if _state(os.fstat(file.fileno())) != extent.state:
                raise InputError(f"{extent.path}: was changed while training read it; run training again")
            self._open[extent.path] = file
            if len(self._open) > self.most:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(extent.path)
        return file


def _state(status: os.stat_result) -> tuple[int, int]:
    return status.st_size, status.st_mtime_ns


RowType = tuple[DTypeLike, tuple[int, ...]]
"""What one row of an array is read as: number type and shape."""


class TrialArrays:
    """The arrays of one trial's file, by name. Holds no file open itself."""

    def __init__(self, path: Path, wanted: Mapping[str, RowType], where_given: Mapping[str, RowType]) -> None:
        """Find the arrays `wanted`, and those `where_given` that are there.

        Raises InputError when the file, one of the arrays or a file that it links to is broken or not there, or rows have another shape.
        """
        self.path = path
        self._arrays: dict[str, tuple[RowType, Extent]] = {}
        with open_trial(path) as file:
            for name, row in {**wanted, **where_given}.items():
                if name in wanted or name in file:
                    self._arrays[name] = row, self._find(file, name, row)

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def _find(self, file: h5py.File, name: str, row: RowType) -> Extent:
        try:
            stored = file[name]
        except KeyError as error:
            raise InputError(f"{self.path}: dataset {name!r} cannot be opened ({error}); is a linked file gone?") from None
        kind, shape = np.dtype(row[0]), row[1]
        if stored.shape[1:] != shape:
            raise InputError(f"{self.path}: a row of {name} has shape {stored.shape[1:]}, not {shape} as in other trials; make it again")
        path = Path(stored.file.filename)
        in_one_piece = stored.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS and not stored.external and stored.dtype == kind
        return Extent(
            path=str(path),
            state=_state(path.stat()),
            offset=stored.id.get_offset() if in_one_piece else None,
            rows=stored.shape[0],
            row_bytes=kind.itemsize * math.prod(shape),
        )

    def read(self, name: str, stretches: Sequence[tuple[int, int]], target: NDArray[Any], files: OpenFiles) -> None:
        """Read stretches of rows [begin, end), in increasing order, into the front of `target`, one after the other.

        `target` is contiguous. Raises InputError for rows that the array does not have, and as `OpenFiles.read` does.
        """
        (kind, shape), extent = self._arrays[name]
        if target.dtype != kind or target.shape[1:] != shape:
            raise ValueError(f"{name} is read into {target.dtype} {target.shape[1:]}, but is {np.dtype(kind)} {shape}")
        if stretches and not 0 <= stretches[0][0] <= stretches[-1][1] <= extent.rows:
            asked = f"{stretches[0][0]} to {stretches[-1][1]}"
            raise InputError(
                f"{self.path}: {name} has {extent.rows} rows, but {asked} are asked for; run the dataset and index stages again"
            )
        place = 0
        if extent.offset is None:
            with open_trial(self.path) as file:
                for begin, end in stretches:
                    file[name].read_direct(target, np.s_[begin:end], np.s_[place : place + end - begin])
                    place += end - begin
            return
        for begin, end in stretches:
            files.read(extent, begin, target[place : place + end - begin])
            place += end - begin

    def rows(self, name: str, begin: int, end: int, files: OpenFiles) -> NDArray[Any]:
        """Rows [begin, end) of an array."""
        kind, shape = self._arrays[name][0]
        target = np.empty((end - begin, *shape), kind)
        self.read(name, [(begin, end)], target, files)
        return target
