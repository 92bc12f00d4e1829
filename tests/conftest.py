"""Where the real clips, models and reference numbers lie; tests that need them skip with a reason when they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from abaw_pipeline.config import DemoCorpus

REPOSITORY = Path(__file__).resolve().parents[1]


def _folder(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)
    if not folder.is_dir():
        pytest.skip(f"needs the folder of {name}: set {variable} (looked at {folder})")
    return folder


@pytest.fixture(scope="session")
def clips() -> Path:
    """Folder of real video clips."""
    return _folder("ABAW_CLIPS", "clips")


@pytest.fixture(scope="session")
def models_folder() -> Path:
    """Folder of real pretrained models."""
    return _folder("ABAW_MODELS", "models")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Folder of reference numbers made with the authors' networks, windowing and schedule."""
    return _folder("ABAW_REFERENCE", "reference")


@pytest.fixture(scope="session")
def demo_corpus(tmp_path_factory: pytest.TempPathFactory) -> DemoCorpus:
    """A tiny demo corpus, made once: 12 videos of about 3 s in `Path(demo_corpus.folder)`. Read only."""
    from abaw_pipeline.corpus.demo.write import generate

    folder = tmp_path_factory.mktemp("corpus") / "demo"
    settings = DemoCorpus(folder=str(folder), videos=12, seconds=3.0)
    generate(settings, folder, jobs=2)
    return settings
