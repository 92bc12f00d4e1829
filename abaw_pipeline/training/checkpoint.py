"""Resume state of an instance: its last two epochs, each in a file that is whole or not there, with its own checksum and stamp.

A file is 32 bytes of SHA-256 over the rest, then what `torch.save` wrote. An epoch is written aside and renamed before the one
before the last goes, so a kill at any moment leaves at least one that loads; a file that was cut short or damaged afterwards
is told by its checksum.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abaw_pipeline.atomic import whole_file

FILES = "epoch*.checkpoint"
DIGEST = hashlib.sha256().digest_size


def stamp(identity: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides what a run becomes; equal values give equal text."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def path_of(folder: Path, epoch: int) -> Path:
    """The file that holds the state after `epoch` epochs."""
    return folder / f"epoch{epoch:05d}.checkpoint"


def save(folder: Path, epoch: int, state: Mapping[str, Any], stamp: str) -> None:
    """Write `state` (tensors, numbers, text, lists, dicts), reached after `epoch` epochs; only this one and the one before are kept."""
    buffer = io.BytesIO()
    torch.save({"stamp": stamp, "state": dict(state)}, buffer)
    content = buffer.getbuffer()
    with whole_file(path_of(folder, epoch)) as aside, aside.open("wb") as file:
        file.write(hashlib.sha256(content).digest())
        file.write(content)
    for path in folder.glob(FILES):
        if path not in (path_of(folder, epoch), path_of(folder, epoch - 1)):
            path.unlink()


def load(folder: Path, stamp: str, device: torch.device, latest: int | None = None) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest state that is whole and carries `stamp`, None when there is none; and remarks for the log.

    `latest`: of no later epoch than this.
    """
    remarks = []
    for path in sorted(folder.glob(FILES), reverse=True):
        if latest is not None and path > path_of(folder, latest):
            continue
        content = path.read_bytes()
        if len(content) < DIGEST or hashlib.sha256(memoryview(content)[DIGEST:]).digest() != content[:DIGEST]:
            remarks.append(f"{path} is damaged (cut short?) and is not used")
            continue
        saved = torch.load(io.BytesIO(memoryview(content)[DIGEST:]), map_location=device, weights_only=True)
        if saved["stamp"] != stamp:
            remarks.append(f"{path} belongs to other settings, data or versions: starting anew")
            continue
        return dict(saved["state"]), remarks
    return None, remarks


def remove_unfinished(folder: Path) -> None:
    """Delete what a killed process had begun to write aside, in `folder` and below."""
    for unfinished in folder.rglob(".*.part*"):
        unfinished.unlink()


def remove(folder: Path) -> None:
    """Delete the resume state."""
    shutil.rmtree(folder, ignore_errors=True)
