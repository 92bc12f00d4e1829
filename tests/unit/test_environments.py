"""The environments agree: lock, conda files and project metadata."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_conda_files_have_the_locks_versions():
    result = subprocess.run([sys.executable, ROOT / "envs" / "pin.py", "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + "run: python envs/pin.py"


def test_pinning_replaces_a_stale_version():
    spec = importlib.util.spec_from_file_location("pin", ROOT / "envs" / "pin.py")
    assert spec and spec.loader
    pin = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pin)
    versions = pin.locked_versions(
        "a==1.0 ; python_full_version < '3.12' \\\n    --hash=x\na==2.0 ; python_full_version >= '3.12' \\\nB-c==3 \\\n"
    )
    assert versions == {"a": "1.0", "b-c": "3"}
    assert pin.pinned("      - a==0.9\n      - b-c==0\n", versions) == "      - a==1.0\n      - b-c==3\n"


def test_every_direct_dependency_is_locked_with_hashes_and_no_host():
    lock = (ROOT / "envs" / "lock.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    for requirement in wanted:
        name = re.split(r"[=<>~! \[]", requirement)[0].lower()
        assert re.search(rf"(?im)^{re.escape(name)}==\S+ .*\\\n    --hash=sha256:", lock), f"{name} is not locked"
    assert "://" not in lock


def test_installed_versions_are_the_locked_ones():
    from importlib.metadata import version

    lock = dict(
        re.findall(
            r"^(torch|numpy|transformers|snakemake|vosk|h5py)==([^ ]+)", (ROOT / "envs" / "lock.txt").read_text(), flags=re.MULTILINE
        )
    )
    for name in ("torch", "transformers", "snakemake", "vosk", "h5py"):
        assert version(name) == lock[name]
