"""Which package files a command is made of, so that an edited stage reruns and nothing else does.

The workflow lists these files as inputs of the stage's rule. Snakemake compares small inputs by checksum: an edit reruns,
a touched file or a git checkout does not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from abaw_pipeline.__main__ import COMMANDS

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent
# Settings reach a stage as parameters that Snakemake compares by value; a comment in config.py must not rerun the training.
WITHOUT_EFFECT = {PACKAGE / name for name in ("__init__.py", "__main__.py", "config.py", "sources.py")}


@cache
def command_sources(command: str) -> tuple[str, ...]:
    """Files that the command's module imports, directly or not, itself included; relative to the repository, sorted.

    Found by reading the code, not by running it. Imports inside functions count; imports for type checkers only do not.
    A string that names a package module, or a data file beside the module that names it, counts too: that is how modules
    load lazily and how templates are found.
    """
    found: set[Path] = set()
    waiting = [path for path in _with_parents(COMMANDS[command][0]) if path is not None]
    while waiting:
        path = waiting.pop()
        if path not in found | WITHOUT_EFFECT:
            found.add(path)
            if path.suffix == ".py":
                waiting.extend(_used_by(path))
    return tuple(sorted(path.relative_to(ROOT).as_posix() for path in found))


@cache
def _used_by(path: Path) -> tuple[Path, ...]:
    """Package files that the module at `path` names."""
    used: list[Path | None] = []
    for node in _nodes_at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                used += _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.module:
            used += _with_parents(node.module)
            for alias in node.names:
                used.append(_module_file(f"{node.module}.{alias.name}"))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            used.append(_module_file(node.value))
            if node.value.isprintable() and "." in node.value and " " not in node.value and (path.parent / node.value).is_file():
                used.append(path.parent / node.value)
    return tuple(sorted({item for item in used if item is not None}))


def _nodes_at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`, and a package's `__getattr__`: stages name the modules they use."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.FunctionDef) and child.name == "__getattr__":
            continue
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            for other in child.orelse:
                yield from _nodes_at_run_time(other)
            continue
        yield child
        yield from _nodes_at_run_time(child)


def _with_parents(module: str) -> list[Path | None]:
    """Files of a module and of the packages that hold it: importing it runs them all."""
    parts = module.split(".")
    return [_module_file(".".join(parts[:count])) for count in range(1, len(parts) + 1)]


def _module_file(module: str) -> Path | None:
    """The file of a package module, or None when it is no module of this package."""
    if module != "abaw_pipeline" and not module.startswith("abaw_pipeline."):
        return None
    place = ROOT.joinpath(*module.split("."))
    for candidate in (place / "__init__.py", place.with_suffix(".py")):
        if candidate.is_file():
            return candidate
    return None
