"""A copy of the project with a small finished run in it, for tests that edit files and ask what would rerun."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from abaw_pipeline import config

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("Snakefile", "config.yaml", "workflow", "envs", "abaw_pipeline")

# A real corpus in the official layout (the demo's own files, found by scanning), at the smallest size that trains.
TINY = {
    "corpus": "affwild2",
    "affwild2": {"folder": "data/tiny"},
    "demo": {"folder": "data/tiny", "videos": 12, "seconds": 2.0},
    "shards": 2,
    "folds": {"number": 2},
    "training": {"seeds": 1, "seeds_per_job": 1, "epochs": 1, "emotions": ["both"], "window": 30, "hop": 20},
    "report": {"bootstrap": 20, "frames": False},
}


@pytest.fixture(scope="session")
def results() -> Path:
    """The results of `snakemake submission` with config.yaml as it stands: a run that is complete already is not repeated."""
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", "--cores", "8", "submission"]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    return ROOT / config.load_file(ROOT / "config.yaml").results


@dataclass(frozen=True)
class Workspace:
    """A folder with its own copy of the code, a corpus and results."""

    folder: Path

    def snakemake(self, *arguments: str, check: bool = True, timeout: float = 500) -> subprocess.CompletedProcess[str]:
        """Run snakemake here with the tiny configuration; all it says is in `stdout`."""
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": ""}
        command = [sys.executable, "-m", "snakemake", "--configfile", "tiny.yaml", "--cores", "4", *arguments]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout[-8000:]}")
        return done

    def would_run(self, *arguments: str) -> Counter[str]:
        """Rules, with their counts, that a dry run would execute; targets that only collect are left out."""
        done = self.snakemake("-n", *arguments)
        table = re.search(r"Job stats:\n(.*?)\ntotal ", done.stdout, flags=re.DOTALL)
        if table is None:
            assert "Nothing to be done" in done.stdout, done.stdout
            return Counter()
        rows = re.findall(r"^(\w+) +(\d+)$", table[1], flags=re.MULTILINE)
        targets = {"submission", "report", "dataset", "training", "audit", "frames", "logmel", "wav", "words", "demo", "selection"}
        return Counter({name: int(count) for name, count in rows if name not in targets})


def copy_project(folder: Path) -> Workspace:
    """A fresh copy of the code in `folder`, with the tiny configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, folder / part)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return Workspace(folder)


def generate_corpus(workspace: Workspace) -> None:
    """The demo's files, to be found by scanning as any Aff-Wild2 copy is."""
    command = [
        sys.executable,
        "-m",
        "abaw_pipeline",
        "demo",
        "--folder",
        "data/tiny",
        "--jobs",
        "2",
        "--settings",
        json.dumps(TINY["demo"]),
    ]
    subprocess.run(command, cwd=workspace.folder, check=True, capture_output=True, text=True)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace whose submission is complete. Tests that change it put everything back (`restored`)."""
    workspace = copy_project(tmp_path_factory.mktemp("finished") / "project")
    generate_corpus(workspace)
    workspace.snakemake("submission")
    return workspace


@pytest.fixture(scope="session")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a corpus and no results."""
    workspace = copy_project(tmp_path_factory.mktemp("unstarted") / "project")
    generate_corpus(workspace)
    return workspace


@pytest.fixture
def restored(finished: Workspace, tmp_path: Path):
    """Save files before a test edits them; afterwards they are back, times included."""
    saved: list[tuple[Path, Path]] = []
    added: list[Path] = []

    def save(*paths: str) -> list[Path]:
        found = []
        for path in paths:
            original = finished.folder / path
            found.append(original)
            if original.exists():
                copy = tmp_path / f"{len(saved)}"
                (shutil.copytree if original.is_dir() else shutil.copy2)(original, copy)
                saved.append((original, copy))
            else:
                added.append(original)
        return found

    yield save
    for original, copy in saved:
        if original.is_dir():
            shutil.rmtree(original)
            shutil.copytree(copy, original)
        else:
            original.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, original)
    for path in added:
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
