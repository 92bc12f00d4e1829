"""`train`: instances of one model, emotion and fold, from the dataset's index to weights, predictions and metrics.

Interrupted and started again, it goes on where it was and ends with the same bytes.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from pydantic import ValidationError
from tqdm import tqdm

import abaw_pipeline
from abaw_pipeline import config
from abaw_pipeline.atomic import write_json
from abaw_pipeline.errors import InputError
from abaw_pipeline.models.create import create_model
from abaw_pipeline.models.groups import share_never_released
from abaw_pipeline.models.network import Network
from abaw_pipeline.models.reference_names import load_reference_state_dict
from abaw_pipeline.models.weights import find, load_state_dict
from abaw_pipeline.progress import Progress
from abaw_pipeline.sources import ROOT, command_sources
from abaw_pipeline.training import checkpoint, loop, outputs
from abaw_pipeline.training.augment import Assembly
from abaw_pipeline.training.devices import own_device
from abaw_pipeline.training.index import Fold, Scaling, partition_scalings, read_fold
from abaw_pipeline.training.instance import RESUME, Instance, new_instance, resume
from abaw_pipeline.training.loader import WindowLoader, WindowReader, frame_size, partition_windows
from abaw_pipeline.training.vectors import Vectors, file_states, find_vectors

LABEL_COLUMN = {"valence": 0, "arousal": 1}
PRETRAINED = {"ir50": "res50_ir_0.887.pth", "vggish": "vggish-10086976.pth"}
"""Backbones and the registry's names of their weights."""
TIMING = "timing.json"
"""Seconds per epoch stand apart from the metrics, which are equal bytes for equal runs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    parser.add_argument("--index", type=Path, required=True, help="dataset/index.json")
    parser.add_argument("--model", required=True, help="the model's name in the configuration")
    parser.add_argument("--emotion", required=True, choices=["valence", "arousal", "both"])
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True, help="one instance each, trained side by side")
    parser.add_argument("--output", type=Path, required=True, help="folder for seed0, seed1, …")
    parser.add_argument("--settings", required=True, help="JSON with the settings model, training and fidelity")
    parser.add_argument("--device", default=None, help="auto, cpu, cuda, cuda:1 … (default: training.device)")
    parser.add_argument("--sharing", type=int, default=1, help="jobs that may use one GPU at the same time (default: 1)")
    parser.add_argument("--workers", default=None, metavar="N", help="loader processes, a number or auto (default: training.workers)")
    parser.add_argument(
        "--pin-memory", choices=["true", "false"], help="load into page-locked memory, with a GPU (default: training.pin_memory)"
    )


def main(args: argparse.Namespace) -> None:
    """Train and write everything, on a device of its own; the resume state goes last."""
    model, training, fidelity = read_settings(args.settings)
    if args.threads:
        torch.set_num_threads(args.threads)
    with own_device(args.device or training.device, sharing=args.sharing) as name:
        train(args, model, training, fidelity, choose_device(name))


def train(
    args: argparse.Namespace, model: config.Model, training: config.Training, fidelity: config.Fidelity, device: torch.device
) -> None:
    """Train the instances on `device`."""
    precision = choose_precision(training.precision, device)
    set_determinism(precision, device)

    fold, data_checksum = read_fold(args.index, args.fold)
    trials = [trial for trial in fold.train + fold.validation + fold.test if trial.rows]
    vectors: dict[str, Vectors] = {modality: find_vectors(Path(folder), trials) for modality, folder in model.precomputed.items()}
    identity = {
        "model": model.model_dump(mode="json", exclude={"folds", "fidelity"}),
        "training": training.model_dump(mode="json", exclude=config.RUNTIME) | {"precision": precision},
        "fidelity": fidelity.model_dump(mode="json", exclude={"rows"}),
        "name": args.model,
        "emotion": args.emotion,
        "fold": args.fold,
        "data_checksum": data_checksum,
        "device": device.type if device.type == "cpu" else torch.cuda.get_device_name(device),
        "versions": versions(),
    }
    targets = ("valence", "arousal") if args.emotion == "both" else (args.emotion,)
    pictures = "video" in model.modalities and "video" not in vectors
    size = (frame_size(trials) if pictures else None) or training.crop
    if size < training.crop:
        raise InputError(f"training.crop is {training.crop}, but the stored pictures are {size} pixels wide; lower it or raise frames.size")
    workers = choose_workers(args.workers or training.workers, device)
    pin_memory = device.type == "cuda" and (training.pin_memory if args.pin_memory is None else args.pin_memory == "true")
    partitions = make_partitions(fold, model, training, fidelity, size, vectors, device, workers, pin_memory)
    job = loop.Job(
        train=partitions["train"],
        validation=partitions["validation"],
        targets=targets,
        columns=[LABEL_COLUMN[target] for target in targets],
        batch_size=training.batch_size,
        margin=size - training.crop,
        weight_decay=training.weight_decay,
        autocast=autocast(precision, device),
        compiled=training.compile,
        device=device,
    )
    about = {
        "name": model.network,
        "modalities": list(model.modalities),
        "targets": len(targets),
        "visual": model.visual,
        "audio": model.audio,
        "image_size": training.crop,
        "tcn_width": model.tcn_width,
        "bert_dim": partitions["train"].reader.bert_dim,
        "precomputed": {modality: found.dim for modality, found in vectors.items()},
        "frozen_batchnorm": fidelity.frozen_batchnorm,
    }
    say(f"{args.model} {args.emotion} fold {args.fold}, seeds {args.seeds}: {describe(fold, partitions)}; {device}, {precision}")
    instances = []
    for seed in args.seeds:
        instance = new_instance(
            seed=seed,
            data_seed=seed if fidelity.data_seed == "tied" else training.data_seed,
            folder=args.output / f"seed{seed}",
            stamp=checkpoint.stamp(identity | {"seed": seed, "code": code_checksum(), "vectors": file_states(vectors, trials)}),
            create=lambda: build(about, model.pretrained),
            device=device,
            compiled=training.compile,
            weight_decay=training.weight_decay,
            schedule=schedule_settings(training, fidelity),
        )
        instances.append(instance)
    for remark in resume(instances, training.weight_decay):
        say(remark)
    events = {instance.seed: outputs.Events(instance.folder / "tensorboard", instance.history) for instance in instances}
    warnings = find_warnings(fold, model, training, len(partitions["train"].reader), instances[0].model)
    for warning in warnings:
        say(f"warning: {warning}")

    def record(instance: Instance) -> None:
        outputs.write_history(instance.folder / "history.csv", instance.history)
        events[instance.seed].add(instance.history[-1])
        epochs_left = sum(other.schedule.epochs - other.schedule.epoch for other in instances if not other.schedule.finished)
        say(epoch_line(instance, job.windows, epochs_left))

    loop.train(instances, job, record, f"{args.model} {args.emotion} fold {args.fold}")

    began = time.monotonic()
    expected = sum(len(partitions[name].reader) for name in ("validation", "test")) * len(instances)
    with Progress(f"{args.model} {args.emotion} fold {args.fold}, final predictions", expected, "windows") as progress:
        validations, tests = (loop.predict(instances, job, partitions[name], progress) for name in ("validation", "test"))
    prediction_seconds = (time.monotonic() - began) / len(instances)
    labels = job.validation_labels
    for instance, validation, test in zip(instances, validations, tests, strict=True):
        outputs.write_history(instance.folder / "history.csv", instance.history)
        outputs.write_weights(instance.folder / "weights.safetensors", instance.best, about)
        outputs.write_predictions(instance.folder / "validation.csv", partitions["validation"].reader, validation, targets, labels)
        outputs.write_predictions(instance.folder / "test.csv", partitions["test"].reader, test, targets)
        metrics = {
            "model": args.model,
            "emotion": args.emotion,
            "fold": args.fold,
            "seed": instance.seed,
            "data_seed": instance.data_seed,
            "best_epoch": instance.schedule.best_epoch,
            "epochs": instance.schedule.epoch,
            "groups_released": instance.schedule.group,
            "validation": outputs.scores(validation, labels, targets),
            "settings": {name: identity[name] for name in ("model", "training", "fidelity")},
            "device": identity["device"],
            "versions": identity["versions"],
            "git_commit": git_commit(),
            "data_checksum": data_checksum,
            "parameters": sum(parameter.numel() for parameter in instance.model.parameters()),
            "train_windows": len(partitions["train"].reader),
            "train_rows": sum(trial.rows for trial in fold.train),
            "timing": TIMING,
            "word_scaling": {name: vars(partition.assembly.scaling) for name, partition in partitions.items()},
            "warnings": warnings,
        }
        write_json(instance.folder / "metrics.json", metrics)
        outputs.write_timing(instance.folder / TIMING, instance.epoch_seconds, prediction_seconds)
        events[instance.seed].close()
        reached = ", ".join(f"{target} {values['ccc']:.3f}" for target, values in metrics["validation"].items())
        say(f"seed {instance.seed}: validation CCC {reached} (epoch {instance.schedule.best_epoch + 1} of {instance.schedule.epoch})")
    for instance in instances:
        checkpoint.remove(instance.folder / RESUME)


def read_settings(text: str) -> tuple[config.Model, config.Training, config.Fidelity]:
    """The three sections of `--settings`."""
    try:
        values = json.loads(text)
        return (
            config.Model.model_validate(values["model"]),
            config.Training.model_validate(values.get("training", {})),
            config.Fidelity.model_validate(values.get("fidelity", {})),
        )
    except (ValueError, KeyError, ValidationError) as error:
        raise InputError(f"--settings: expected JSON with model, training and fidelity ({error})") from None


def schedule_settings(training: config.Training, fidelity: config.Fidelity) -> dict[str, Any]:
    """What `FineTuningSchedule` takes, but for the number of groups."""
    names = ("epochs", "learning_rate", "min_learning_rate", "warmup_epochs", "patience", "factor", "early_stopping")
    return {name: getattr(training, name) for name in names} | {"warmup": fidelity.warmup, "scope": fidelity.scope}


def choose_device(wanted: str) -> torch.device:
    """The torch device of that name; `auto` has been resolved (devices.py)."""
    device = torch.device(wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"training.device is {wanted}, but torch sees no GPU here; use auto or cpu")
    return device


def choose_workers(wanted: str | int, device: torch.device) -> int:
    """How many processes load ahead; `auto` is 2 with a GPU, which must not wait, and none where all is done by the same cores."""
    if wanted == "auto":
        return 2 if device.type == "cuda" else 0
    if not str(wanted).isdigit():
        raise InputError(f"--workers: expected a number from 0 on, or auto, not {wanted!r}")
    return int(wanted)


def choose_precision(wanted: str, device: torch.device) -> str:
    """`auto` is bf16 on a GPU that has it, else float32; tf32 means float32 on a CPU, which has none."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return "float32" if wanted == "tf32" and device.type == "cpu" else wanted


def set_determinism(precision: str, device: torch.device) -> None:
    """Same bytes every time on a CPU and, with `float32`, on a GPU; the fast GPU modes may pick other kernels from run to run."""
    exact = device.type == "cpu" or precision == "float32"
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_deterministic_debug_mode("warn" if exact else "default")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.benchmark = not exact
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float32"


def autocast(precision: str, device: torch.device) -> Callable[[], Any]:
    """The context in which networks run."""
    return (lambda: torch.autocast(device.type, dtype=torch.bfloat16)) if precision == "bf16" else contextlib.nullcontext


def make_partitions(
    fold: Fold,
    model: config.Model,
    training: config.Training,
    fidelity: config.Fidelity,
    size: int,
    vectors: Mapping[str, Vectors],
    device: torch.device,
    workers: int,
    pin_memory: bool,
) -> dict[str, loop.Partition]:
    """Readers and assemblies of the three partitions."""
    scalings: dict[str, Scaling] = partition_scalings(fold, fidelity.normalisation)
    stored = [modality for modality in model.modalities if modality not in vectors]
    partitions = {}
    for name in ("train", "validation", "test"):
        trials = getattr(fold, name)
        windows = partition_windows(trials, training.window, training.hop)
        reader = WindowReader(trials, windows, training.window, stored, size, vectors)
        assembly = Assembly(
            modalities=stored,
            vectors=list(vectors),
            crop=training.crop,
            scaling=scalings[name],
            masked=fidelity.padding == "masked",
            device=device,
        )
        partitions[name] = loop.Partition(loader=WindowLoader(reader, workers, pin_memory), assembly=assembly)
    return partitions


def build(about: dict[str, Any], pretrained: bool) -> Network:
    """The network that `about` describes; its backbones' weights from the registry when `pretrained` and there are any."""
    options = {name: value for name, value in about.items() if name not in ("name", "modalities")}
    network = create_model(about["name"], about["modalities"], **options)
    if pretrained:
        for modality, backbone in (("video", about["visual"]), ("logmel", about["audio"])):
            if modality in about["modalities"] and modality not in about["precomputed"] and backbone in PRETRAINED:
                weights = load_state_dict(find(PRETRAINED[backbone]))
                load_reference_state_dict(network.get_submodule(f"encoders.{modality}.backbone"), weights)
    return network


def find_warnings(fold: Fold, model: config.Model, training: config.Training, windows: int, network: Network) -> list[str]:
    """What a reader of the results should know."""
    warnings = []
    stored = [modality for modality in model.modalities if modality not in model.precomputed]
    for modality, backbone in (("video", model.visual), ("logmel", model.audio)):
        if modality in stored and not (model.pretrained and backbone in PRETRAINED):
            why = "the registry has no weights for it" if model.pretrained else "pretrained: false"
            frozen = share_never_released(network, modality)
            warnings.append(
                f"the backbone {backbone} starts from random weights ({why}), and {frozen:.0%} of them stay random: the schedule"
                " releases its last parts only, as fits pretrained weights; use these, or a small backbone, which trains whole"
                if frozen
                else f"the backbone {backbone} is trained from scratch ({why})"
            )
    for modality in stored:
        lacking = sum(not getattr(trial, f"has_{modality}") for trial in fold.train)
        if lacking:
            warnings.append(f"{lacking} of {len(fold.train)} training trials have no {modality}")
    if windows <= training.batch_size and training.warmup_epochs:
        warnings.append("an epoch is a single batch, whose rate in a warm-up epoch is zero; lower training.batch_size or warmup_epochs")
    return warnings


def describe(fold: Fold, partitions: dict[str, loop.Partition]) -> str:
    """Sizes in words."""
    sizes = []
    for name, partition in partitions.items():
        trials = getattr(fold, name)
        sizes.append(f"{name} {len(trials)} trials, {sum(trial.rows for trial in trials)} rows, {len(partition.reader)} windows")
    return "; ".join(sizes)


def epoch_line(instance: Instance, windows: int, epochs_left: int) -> str:
    """One epoch of so many windows in one line of the log; `epochs_left` are those of all instances of the job."""
    line, schedule = instance.history[-1], instance.schedule
    seconds = instance.epoch_seconds[-1]
    after = "; ended" if schedule.finished else f"; at most {tqdm.format_interval(epochs_left * seconds)} left"
    released = f"; group {line['released']} released" if line["released"] else ""
    return (
        f"seed {instance.seed} epoch {line['epoch'] + 1}/{schedule.epochs}, group {line['group']}, rate {line['learning_rate']:.1e}:"
        f" loss {line['train_loss']:.4f}, CCC {line['train_ccc']:.3f} training {line['validation_ccc']:.3f} validation"
        f" (best {schedule.state.best:.3f}); {seconds:.1f} s, {windows / seconds:.1f} windows/s{released}{after}"
    )


def say(text: str) -> None:
    """A line to the log, above a progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)
    sys.stderr.flush()


def versions() -> dict[str, str]:
    """Of everything that results may depend on."""
    return {
        "abaw_pipeline": abaw_pipeline.__version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "h5py": h5py.__version__,
    }


def code_checksum() -> str:
    """SHA-256 over the package files that training is made of."""
    digest = hashlib.sha256()
    for name in command_sources("train"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def git_commit() -> str:
    """The commit that the package lies in; `unknown` outside a repository."""
    try:
        command: Sequence[str] = ("git", "-C", str(ROOT), "rev-parse", "HEAD")
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
