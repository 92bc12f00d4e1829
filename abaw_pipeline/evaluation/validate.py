"""Check a submission file against the challenge's template, byte by byte and row by row."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from abaw_pipeline.errors import InputError

HEADER = "image_location,valence,arousal"
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
SHOWN = 10


def read_template(path: Path) -> list[str]:
    """Image locations of the template, in its order. What stands after the first comma does not matter.

    Raises InputError for a wrong header, a row that is not `trial/00001.jpg`, or a doubled row.
    """
    try:
        lines = path.read_bytes().decode("utf-8-sig").splitlines()
    except OSError as error:
        raise InputError(f"{path}: the template cannot be read ({error})") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the template is not UTF-8 ({error})") from None
    if not lines or lines[0].split(",")[0].strip() != "image_location":
        raise InputError(f"{path}, line 1: expected the header {HEADER!r}, found {(lines or [''])[0][:80]!r}")
    locations = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        location = line.split(",")[0].strip()
        split_location(location, f"{path}, line {number}")
        if location in seen:
            raise InputError(f"{path}, line {number}: {location} stands on line {seen[location]} already; remove one")
        seen[location] = number
        locations.append(location)
    if not locations:
        raise InputError(f"{path}: the template has no rows")
    return locations


def split_location(location: str, place: str = "image location") -> tuple[str, int]:
    """Trial and frame number (from 0) of `trial/00001.jpg`, which is frame 0. InputError at `place` when it is not like that."""
    trial, slash, image = location.rpartition("/")
    stem, dot, suffix = image.rpartition(".")
    if not (trial and slash and dot and stem.isascii() and stem.isdigit() and suffix.lower() in ("jpg", "png")) or int(stem) < 1:
        raise InputError(f"{place}: {location[:80]!r} is not like trial/00001.jpg")
    return trial, int(stem) - 1


def validate(path: Path, template: Path | Sequence[str] | None) -> list[str]:
    """Everything wrong with the submission file `path`, in words, with line numbers; empty when it is valid.

    `template` is the template file, its image locations, or None, which leaves out the checks that need it. Checked:
    UTF-8 without byte order mark, LF line ends, final line end, no blanks around fields, the header, three fields a
    row, the template's rows each once and in its order, the number of rows per trial, finite values within [-1, 1].
    """
    path = Path(path)
    if template is None or not isinstance(template, str | Path):
        expected = None if template is None else list(template)
    else:
        expected = read_template(Path(template))
    try:
        content = path.read_bytes()
    except OSError as error:
        return [f"cannot be read ({error.strerror or error})"]
    text, problems = _decode(content)
    if text is None:
        return problems
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    else:
        problems.append(f"line {len(lines)}: no line end after the last row")
    lines = [line.removesuffix("\r") for line in lines]
    if not lines:
        return [*problems, f"empty: expected the header {HEADER!r}"]
    if lines[0] != HEADER:
        problems.append(f"line 1: expected the header {HEADER!r}, found {lines[0][:80]!r}")
    found: list[tuple[int, str]] = []
    for number, line in enumerate(lines[1:], start=2):
        fields = line.split(",")
        if len(fields) != 3:
            what = "blank line" if not line.strip() else f"expected 3 fields, found {len(fields)}: {line[:80]!r}"
            problems.append(f"line {number}: {what}")
        found.append((number, fields[0].strip()))
        if len(fields) == 3:
            problems += _row_problems(number, fields)
    found = [(number, location) for number, location in found if location]
    if expected is not None:
        problems += _against_template(found, expected)
    else:
        problems += _doubled(found)
    return sorted(problems, key=_line_number)


def _line_number(problem: str) -> float:
    match = re.match(r"line (\d+)", problem)
    return int(match[1]) if match else math.inf


def _decode(content: bytes) -> tuple[str | None, list[str]]:
    problems = []
    if content.startswith(b"\xef\xbb\xbf"):
        problems.append("line 1: starts with a byte order mark; save as UTF-8 without BOM")
        content = content[3:]
    if b"\0" in content:
        return None, [*problems, "holds zero bytes: not a UTF-8 text (UTF-16, or a damaged file?)"]
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return None, [*problems, f"line {line}: not UTF-8 (byte 0x{content[error.start]:02x})"]
    carriage = text.count("\r\n")
    if carriage:
        first = text[: text.index("\r\n")].count("\n") + 1
        problems.append(f"line {first}: Windows line end (CRLF), {carriage} in all; use LF")
    stray = text.replace("\r\n", "\n").find("\r")
    if stray >= 0:
        line = text.replace("\r\n", "\n")[:stray].count("\n") + 1
        problems.append(f"line {line}: carriage return inside; use LF line ends")
    return text, problems


def _row_problems(number: int, fields: Sequence[str]) -> list[str]:
    problems = []
    if any(field != field.strip() for field in fields):
        problems.append(f"line {number}: blanks around a field: {','.join(fields)[:80]!r}")
    for name, field in zip(("valence", "arousal"), fields[1:], strict=True):
        value = field.strip()
        if not NUMBER.fullmatch(value):
            finite = value.lower().lstrip("+-") not in ("nan", "inf", "infinity")
            problems.append(f"line {number}: {name} {'is not a number' if finite else 'is not finite'}: {value[:40]!r}")
        elif not -1 <= float(value) <= 1:
            problems.append(f"line {number}: {name} {value[:40]} is outside [-1, 1]")
    return problems


def _doubled(found: Sequence[tuple[int, str]]) -> list[str]:
    problems: list[str] = []
    first: dict[str, int] = {}
    for number, location in found:
        if location in first:
            problems.append(f"line {number}: {location} stands on line {first[location]} already")
        first.setdefault(location, number)
    return problems


def _against_template(found: Sequence[tuple[int, str]], expected: Sequence[str]) -> list[str]:
    """Unknown, doubled and misplaced rows by line; missing rows and counts by trial."""
    problems = _doubled(found)
    place = {location: index for index, location in enumerate(expected)}
    problems += [f"line {number}: {location} is not in the template" for number, location in found if location not in place]
    before = -1
    for number, location in found:
        index = place.get(location)
        if index is not None:
            if index < before:
                problems.append(f"line {number}: {location} is out of order: the template has it before {expected[before]}")
            before = index
    present = {location for _, location in found}
    wanted, got = Counter(map(_trial, expected)), Counter(_trial(location) for location in present if location in place)
    first_missing: dict[str, str] = {}
    for location in expected:
        if location not in present:
            first_missing.setdefault(_trial(location), location)
    for trial, location in first_missing.items():
        problems.append(f"trial {trial}: {got[trial]} of {wanted[trial]} rows, {location} is the first that is missing")
    return problems


def _trial(location: str) -> str:
    return location.rpartition("/")[0]


def summarise(path: Path, problems: Sequence[str]) -> str:
    """The first ten problems and their total, for people."""
    if not problems:
        return f"{path}: valid"
    more = f"\n  … and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
    listed = "\n".join(f"  {problem}" for problem in problems[:SHOWN])
    return f"{path}: {len(problems)} problem{'s' if len(problems) > 1 else ''}\n{listed}{more}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `validate`."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="submission text files")
    parser.add_argument("--template", type=Path, help="the challenge's template; without it only the format is checked")


def main(args: argparse.Namespace) -> int:
    """Print what is wrong; exit status 1 when anything is."""
    expected = read_template(args.template) if args.template else None
    if expected is None:
        print("validate: no --template given: rows, order and counts are not checked", file=sys.stderr)
    bad = 0
    for path in args.files:
        problems = validate(path, expected)
        bad += bool(problems)
        print(summarise(path, problems))
    return 1 if bad else 0
