"""Who may import whom (ARCHITECTURE.md)."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "abaw_pipeline"
SHARED = {"atomic", "errors", "progress", "config", "alignment", "store"}


def imports(path: Path) -> set[str]:
    """Dotted names that a module imports, at any depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules() -> dict[str, set[str]]:
    return {path.relative_to(PACKAGE).as_posix(): imports(path) for path in PACKAGE.rglob("*.py")}


def test_nothing_imports_snakemake():
    assert [name for name, used in modules().items() if any(item.split(".")[0] == "snakemake" for item in used)] == []


def test_no_module_is_a_drawer():
    assert not {"utils.py", "base.py", "helpers.py", "misc.py", "common.py"} & {path.name for path in PACKAGE.rglob("*.py")}


def test_models_import_no_files_and_no_other_part():
    allowed = {"abaw_pipeline.models", "abaw_pipeline.errors", "abaw_pipeline.atomic", "abaw_pipeline.progress", "abaw_pipeline.config"}
    for name, used in modules().items():
        if name.startswith("models/"):
            for item in used:
                assert not item.startswith("abaw_pipeline.") or any(item.startswith(part) for part in allowed), f"{name} imports {item}"
            if name not in ("models/weights.py", "models/describe.py"):
                assert not {"h5py", "requests", "yaml"} & used, f"{name} does input or output"


def test_parts_meet_through_files():
    """Media, language, training and evaluation do not import one another, but for pure numbers: the metrics."""
    parts = ("media", "language", "training", "evaluation")
    for name, used in modules().items():
        part = name.split("/")[0]
        if part not in parts:
            continue
        for item in used:
            if not item.startswith("abaw_pipeline.") or item.startswith("abaw_pipeline.evaluation.metrics"):
                continue
            other = item.split(".")[1]
            assert other == part or other not in parts, f"{name} imports {item}"
