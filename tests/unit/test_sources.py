"""Which files a stage is made of: what an edit reruns."""

import subprocess
import sys
from pathlib import Path

import pytest

from abaw_pipeline.__main__ import COMMANDS
from abaw_pipeline.sources import ROOT, WITHOUT_EFFECT, command_sources

STAGES = ["demo", "scan", "timestamps", "wav", "logmel", "recognise", "punctuate", "embed", "frames", "dataset", "audit"]
STAGES += ["coverage", "index", "train", "select", "submit", "report"]


@pytest.mark.parametrize("command", STAGES)
def test_every_module_that_a_stage_loads_is_among_its_sources(command):
    """Runs the import in a process of its own and compares with what reading the code found."""
    module = COMMANDS[command][0]
    listing = f"import sys, {module}; print(*sorted(m for m in sys.modules if m.startswith('abaw_pipeline')))"
    loaded = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    files = set(command_sources(command))
    for name in loaded:
        place = Path(*name.split("."))
        candidates = {place.with_suffix(".py").as_posix(), (place / "__init__.py").as_posix()}
        if not candidates & {path.relative_to(ROOT).as_posix() for path in WITHOUT_EFFECT}:
            assert candidates & files, f"{command} loads {name}, which is not among its sources"


def test_stages_are_made_of_different_files():
    assert "abaw_pipeline/media/logmel.py" in command_sources("logmel")
    assert "abaw_pipeline/media/logmel.py" not in command_sources("train")
    assert "abaw_pipeline/training/loop.py" in command_sources("train")
    assert "abaw_pipeline/training/loop.py" not in command_sources("select")
    assert "abaw_pipeline/models/lfan.py" in command_sources("train")
    assert "abaw_pipeline/models/weights.py" in command_sources("embed")
    assert "abaw_pipeline/models/lfan.py" not in command_sources("embed")


@pytest.mark.parametrize("command", ["scan", "timestamps", "wav", "logmel", "frames", "dataset", "index", "select", "submit", "recognise"])
def test_light_stages_do_not_load_heavy_packages(command):
    """Thousands of jobs start these; torch alone costs about two seconds and 220 MB."""
    heavy = "{'torch', 'transformers', 'matplotlib', 'cv2', 'snakemake'}"
    listing = f"import sys, {COMMANDS[command][0]}; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []


def test_parsing_the_workflow_loads_light_modules_only():
    parsed = ("config", "corpus.trials", "corpus.demo.plan", "corpus.affwild2", "corpus.manifest", "sources")
    heavy = "{'torch', 'transformers', 'matplotlib', 'cv2', 'h5py', 'pandas'}"
    listing = f"import sys, {', '.join('abaw_pipeline.' + name for name in parsed)}; print(*({heavy} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert loaded == []
