"""Resume state of an instance: two generations, each whole or not there, each with its own checksum and stamp.

A file is 32 bytes of SHA-256 over the rest, then what `torch.save` wrote. The newest generation is written aside, the
one before is kept under a second name, so a kill at any moment leaves at least one that loads; a file that was cut
short or damaged afterwards is told by its checksum.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abaw_pipeline.atomic import whole_file

LATEST, BEFORE = "latest.checkpoint", "before.checkpoint"
DIGEST = hashlib.sha256().digest_size


def stamp(identity: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides what a run becomes; equal values give equal text."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def save(folder: Path, state: Mapping[str, Any], stamp: str) -> None:
    """Make `state` (tensors, numbers, text, lists, dicts) the latest generation in `folder`."""
    buffer = io.BytesIO()
    torch.save({"stamp": stamp, "state": dict(state)}, buffer)
    content = buffer.getbuffer()
    with whole_file(folder / LATEST) as aside:
        with aside.open("wb") as file:
            file.write(hashlib.sha256(content).digest())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # Between these two renames only the generation before is there, under its own name: still one that loads.
        if (folder / LATEST).exists():
            (folder / LATEST).replace(folder / BEFORE)


def load(folder: Path, stamp: str, device: torch.device) -> tuple[dict[str, Any] | None, list[str]]:
    """The latest generation that is whole and carries `stamp`, None when there is none; and remarks for the log."""
    remarks = []
    for name in (LATEST, BEFORE):
        path = folder / name
        if not path.exists():
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
