"""Which GPU a training job uses: one of its own, unless sharing is asked for.

Snakemake counts GPUs (`--resources gpu=2`) but does not say which. Jobs on one machine agree by lock files, one per device
and slot; a lock goes with its process, however that ends. Under Slurm the scheduler has given the job its devices already.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

WAIT_SECONDS = 1.0


def visible_devices(environment: Mapping[str, str]) -> list[str]:
    """CUDA devices that this process may use, by index or UUID, without starting CUDA; empty when there is none."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [part.strip() for part in named.split(",") if part.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    listing = subprocess.run(["nvidia-smi", "--query-gpu=uuid", "--format=csv,noheader"], capture_output=True, text=True, check=False)
    return listing.stdout.split() if listing.returncode == 0 else []


@contextmanager
def own_device(requested: str, *, sharing: int = 1, folder: Path | None = None) -> Iterator[str]:
    """Give the torch device to use, and keep other jobs of this machine off it until the end of the block.

    `requested`: `auto` (a GPU when there is one, else `cpu`), or a torch device, which is taken as it is.
    `sharing`: how many jobs may use one device at the same time. Waits for a free one. Sets CUDA_VISIBLE_DEVICES for this
    process, so it must come before anything that starts CUDA.
    """
    if requested != "auto":
        yield requested
        return
    devices = visible_devices(os.environ)
    if not devices:
        yield "cpu"
        return
    if "SLURM_JOB_ID" in os.environ:
        yield "cuda"
        return
    folder = folder or Path(tempfile.gettempdir()) / f"abaw_pipeline-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    device, lock = _first_free(devices, sharing, folder)
    try:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
        yield "cuda"
    finally:
        lock.release()


def _first_free(devices: Sequence[str], sharing: int, folder: Path) -> tuple[str, FileLock]:
    """Claim a slot, filling empty devices before sharing one."""
    while True:
        for slot in range(sharing):
            for device in devices:
                lock = FileLock(folder / f"{device.replace('/', '_')}.{slot}.lock", timeout=0)
                try:
                    lock.acquire()
                except Timeout:
                    continue
                return device, lock
        time.sleep(WAIT_SECONDS)
