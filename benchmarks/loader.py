"""Milliseconds to deliver a training window, cold and warm, and whether memory stays flat over epochs.

    python benchmarks/loader.py --trials 12 --rows 3000

Windows have the report's size: 300 rows of 48 x 48 pictures, log-mel and 768 word features. Cold means that the files were
put out of the page cache before (posix_fadvise).
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline.training.augment import Assembly, epoch_crops, epoch_order
from abaw_pipeline.training.index import Scaling, read_fold
from abaw_pipeline.training.loader import WindowLoader, WindowReader, partition_windows
from tests.training_data import write_dataset

MODALITIES = ("video", "logmel", "bert")


def drop_from_cache(folder: Path) -> None:
    """Ask the kernel to forget the files' pages."""
    os.sync()
    for path in folder.glob("*.h5"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--rows", type=int, default=3000, help="rows per trial")
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = write_dataset(folder, [options.rows] * options.trials, size=48, bert_dim=768, linked=True)
        fold = read_fold(index, 0)[0]
        trials = fold.train + fold.validation + fold.test
        reader = WindowReader(trials, partition_windows(trials, 300, 200), 300, MODALITIES, 48)
        loader = WindowLoader(reader, options.workers, pin_memory=False)
        assembly = Assembly(modalities=MODALITIES, crop=40, scaling=Scaling(0, 1), masked=True, device=torch.device("cpu"))
        size = sum(path.stat().st_size for path in folder.glob("*.h5")) / 1e6
        print(f"{len(trials)} trials, {len(reader)} windows, {size:.0f} MB; {options.workers} workers, batches of {options.batch_size}")
        drop_from_cache(folder)
        loads = []
        for epoch in range(options.epochs):
            crops = epoch_crops(0, epoch, len(reader), 8)
            load, assemble = np.zeros(2), np.zeros(2)  # wall and CPU seconds
            before = clocks()
            for host in loader.batches(epoch_order(0, epoch, len(reader), options.batch_size)):
                between = clocks()
                load += between - before
                assembly.batch(host, crops)
                before = clocks()
                assemble += before - between
            loads.append(load / len(reader) * 1000)
            wall, cpu = assemble / len(reader) * 1000
            memory = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
            print(
                f"epoch {epoch}{' (cold)' if epoch == 0 else ''}: load {loads[-1][0]:.2f} ms a window ({loads[-1][1]:.2f} ms of CPU time);"
                f" crop, scale and gather, here on the CPU, {wall:.2f} ms ({cpu:.2f}); resident {memory:.0f} MB"
            )
        warm = np.median(loads[1:], axis=0)
        print(f"warm: median {warm[0]:.2f} ms a window, {warm[1]:.2f} ms of CPU time")


def clocks() -> np.ndarray:
    """Wall and CPU seconds: on a busy machine they differ."""
    return np.array([time.perf_counter(), time.process_time()])


if __name__ == "__main__":
    main()
