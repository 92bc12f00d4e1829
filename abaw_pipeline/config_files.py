"""The files that are written from the typed settings: the report's preset, with every setting explained, and the JSON schema."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from abaw_pipeline.atomic import write_text
from abaw_pipeline.config import Settings

ROOT = Path(__file__).resolve().parents[1]
PRESET = ROOT / "workflow" / "presets" / "abaw5.yaml"
SCHEMA = ROOT / "workflow" / "schemas" / "config.schema.json"

PRESET_HEAD = """\
# The report's settings in full, every one with its meaning. Written by `python -m abaw_pipeline config --write` from
# abaw_pipeline/config.py; a test holds the two equal. Put your own values into a second file after this one:
#   snakemake --cores 8 --configfile workflow/presets/abaw5.yaml mine.yaml -- submission
"""


def preset_text() -> str:
    """The preset: all defaults, which are the report's, for an Aff-Wild2 copy."""
    return PRESET_HEAD + "\n" + "\n".join(_lines(Settings(corpus="affwild2"), 0)) + "\n"


def schema_text() -> str:
    """JSON schema of the configuration, for editors and for reading."""
    return json.dumps(Settings.model_json_schema(), indent=1, sort_keys=True) + "\n"


def _lines(section: BaseModel, depth: int) -> list[str]:
    """The section as commented YAML lines."""
    lines: list[str] = []
    indent = "  " * depth
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if field.description:
            lines += [f"{indent}# {line}" for line in field.description.splitlines()]
        if isinstance(value, BaseModel):
            if value.__doc__ and not field.description:
                lines += ["", *(f"{indent}# {line.strip()}" for line in value.__doc__.splitlines() if line.strip())]
            lines += [f"{indent}{name}:", *_lines(value, depth + 1)]
        elif isinstance(value, dict) and value and all(isinstance(item, BaseModel) for item in value.values()):
            lines += ["", f"{indent}{name}:"]
            for key, item in value.items():
                lines += [f"{indent}  {key}:", *_lines(item, depth + 2)]
        else:
            lines.append(f"{indent}{name}: {_scalar(value)}")
    return lines


def _scalar(value: Any) -> str:
    """A value on one line of YAML that PyYAML reads back equal (it takes 1e-5 for a text, 1.0e-05 for a number)."""
    if isinstance(value, float) and "e" in repr(value) and "." not in repr(value):
        return repr(value).replace("e", ".0e")
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=1000).removesuffix("\n").removesuffix("\n...")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `config`."""
    parser.add_argument("--write", action="store_true", help="write the preset and the schema anew")


def main(args: argparse.Namespace) -> int:
    """Print the preset, or write both files."""
    if args.write:
        write_text(PRESET, preset_text())
        write_text(SCHEMA, schema_text())
    else:
        print(preset_text(), end="")
    return 0
