"""An epoch of training here against the plain way, side by side in one run, and what bounds it.

    python benchmarks/epoch.py                       # a GPU: the report's networks and settings; a CPU: small backbones
    python benchmarks/epoch.py --trials 36 --rows 3000 --epochs 3

The plain way: float32, eager, layers as they come, pictures cut, flipped and scaled one by one with PIL and torchvision, mel windows and
word vectors spelled out per row, everything loaded in the main process, the loss read at every step. Here: `python -m abaw_pipeline train`
with the settings that it chooses by itself. Same data, windows, batch size, learning rates and number of epochs; the last epoch counts.
The bound is what the multiply-adds of an epoch would take at the rate of the device's best matrix product, in the same precision.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.flop_counter import FlopCounterMode
from torchvision import transforms

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline.config import Model, Training
from abaw_pipeline.evaluation.metrics import ccc
from abaw_pipeline.models.create import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.training import train
from abaw_pipeline.training.index import Trial, read_fold, word_scaling
from abaw_pipeline.training.loader import Window, partition_windows
from abaw_pipeline.training.loss import ccc_loss
from abaw_pipeline.training.schedule import FineTuningSchedule
from abaw_pipeline.training.windows import RowAverage
from tests.training_data import write_dataset

MATRIX = {"cuda": 8192, "cpu": 2048}
"""Edge of the matrices whose product tells the device's rate."""


class PlainWindows(Dataset[dict[str, Tensor]]):
    """Windows as the networks read them, made row by row."""

    def __init__(self, trials: tuple[Trial, ...], windows: list[Window], training: Training, scaling: Any, learning: bool) -> None:
        self.trials, self.windows, self.training, self.scaling = trials, windows, training, scaling
        self.learning = learning

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        window, crop = self.windows[number], self.training.crop
        with h5py.File(self.trials[window.trial].path) as file:
            rows = slice(window.start, window.stop)
            frames = file["frames"][file["frame"][rows]]
            spectrum, starts = file["logmel"][()].astype(np.float32), file["logmel_start"][rows]
            words, word = file["words"][()].astype(np.float32), file["word"][rows]
            label = file["label"][rows]
        margin = frames.shape[1] - crop
        top, left = np.random.randint(0, margin + 1, 2) if self.learning else (margin // 2, margin // 2)  # noqa: NPY002
        flip = self.learning and np.random.rand() < 0.5  # noqa: NPY002
        scale = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)])
        pictures = []
        for frame in frames:
            picture = Image.fromarray(frame).crop((left, top, left + crop, top + crop))
            pictures.append(scale(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else picture))
        vectors = np.stack([words[place] if place >= 0 else np.zeros(words.shape[1], np.float32) for place in word])
        return {
            "window": torch.tensor(number),
            "video": torch.stack(pictures),
            "logmel": torch.from_numpy(np.stack([spectrum[start : start + 96] for start in starts])),
            "bert": torch.from_numpy((vectors - self.scaling.mean) / self.scaling.std).float(),
            "label": torch.from_numpy(label[:, :1]),
        }


def plain(index: Path, model: Model, training: Training, bert_dim: int, device: torch.device) -> tuple[float, float]:
    """Seconds of the last epoch, and the best validation CCC."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    fold = read_fold(index, 0)[0]
    scaling = word_scaling(fold.train)
    loaders = {}
    for name, trials in (("train", fold.train), ("validation", fold.validation)):
        windows = partition_windows(trials, training.window, training.hop)
        dataset = PlainWindows(trials, windows, training, scaling, learning=name == "train")
        loaders[name] = DataLoader(dataset, batch_size=training.batch_size, shuffle=name == "train")
    network = create_model(
        model.network, model.modalities, visual=model.visual, audio=model.audio, tcn_width=model.tcn_width, bert_dim=bert_dim
    ).to(device)
    freeze_trunks(network)
    release(network, release_groups(network)[0])
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, weight_decay=training.weight_decay)
    schedule = FineTuningSchedule(learning_rate=training.learning_rate, warmup_epochs=training.warmup_epochs, epochs=training.epochs)
    seconds, best = 0.0, -1.0
    for _ in range(training.epochs):
        began = time.perf_counter()
        network.train()
        for step, batch in enumerate(loaders["train"]):
            sent = {name: batch[name].to(device) for name in (*model.modalities, "label")}
            loss = ccc_loss(network(sent), sent["label"])
            optimizer.param_groups[0]["lr"] = schedule.learning_rate(step, len(loaders["train"]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not np.isfinite(loss.item()):
                sys.exit("the loss is not a number")
        reached = validate(network, loaders["validation"], model, device)
        best = max(best, reached)
        schedule.end_epoch(reached)
        seconds = time.perf_counter() - began
    return seconds, best


@torch.no_grad()
def validate(network: torch.nn.Module, loader: DataLoader[dict[str, Tensor]], model: Model, device: torch.device) -> float:
    """CCC over all rows."""
    network.eval()
    dataset: Any = loader.dataset
    predicted, truth = (RowAverage([trial.rows for trial in dataset.trials], 1) for _ in range(2))
    for batch in loader:
        prediction = network({name: batch[name].to(device) for name in model.modalities}).cpu().numpy()
        for number, prediction_TC, label_TC in zip(batch["window"].tolist(), prediction, batch["label"].numpy(), strict=True):
            window = dataset.windows[number]
            predicted.add(window.trial, window.start, prediction_TC)
            truth.add(window.trial, window.start, label_TC)
    return float(ccc(predicted.mean()[:, 0], truth.mean()[:, 0]))


def ours(index: Path, folder: Path, model: Model, training: Training, device: torch.device) -> tuple[float, float]:
    """Seconds of the last epoch, and the best validation CCC."""
    settings = {"model": model.model_dump(mode="json"), "training": training.model_dump(mode="json"), "fidelity": {}}
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    train.add_arguments(parser)
    where = ["--index", str(index), "--model", "m", "--emotion", "valence", "--fold", "0", "--seeds", "0", "--output", str(folder)]
    train.main(parser.parse_args([*where, "--settings", json.dumps(settings), "--device", device.type]))
    timing, metrics = (json.loads((folder / "seed0" / name).read_text()) for name in ("timing.json", "metrics.json"))
    return timing["epoch_seconds"][-1], metrics["validation"]["valence"]["ccc"]


def operations(model: Model, training: Training, bert_dim: int) -> tuple[float, float]:
    """Floating-point operations per row: of a training step, and of a forward pass alone. Counted on shapes."""
    shapes = {"video": (3, training.crop, training.crop), "logmel": (96, 64), "bert": (bert_dim,)}
    with torch.device("meta"):
        network = create_model(
            model.network, model.modalities, visual=model.visual, audio=model.audio, tcn_width=model.tcn_width, bert_dim=bert_dim
        )
        batch = {name: torch.zeros(1, training.window, *shapes[name]) for name in model.modalities}
    freeze_trunks(network)
    release(network, release_groups(network)[0])
    counts = []
    for backward in (True, False):
        network.train(backward)
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
            prediction = network(batch)
            if backward:
                prediction.sum().backward()
        counts.append(counter.get_total_flops() / training.window)
    return counts[0], counts[1]


def matrix_rate(device: torch.device, kind: torch.dtype) -> float:
    """Operations per second of the best of a few large matrix products."""
    edge = MATRIX[device.type]
    left, right = (torch.randn(edge, edge, device=device, dtype=kind) for _ in range(2))
    best = float("inf")
    for _ in range(6):
        began = time.perf_counter()
        left @ right
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 2 * edge**3 / best


def main() -> None:
    """Print both, the ratio and the bound."""
    gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=["can", "lfan"], default="can")
    parser.add_argument("--trials", type=int, default=36 if gpu else 18, help="a third of them trains, a third validates")
    parser.add_argument("--rows", type=int, default=3000, help="per trial")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=8 if gpu else 1)
    parser.add_argument("--small", action=argparse.BooleanOptionalAction, default=not gpu, help="small backbones")
    parser.add_argument("--compile", action="store_true", help="ours with torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device, bert_dim = torch.device("cuda" if gpu else "cpu"), 768
    backbones: dict[str, Any] = {"visual": "ir_small", "audio": "vgg_small", "tcn_width": 0.25} if options.small else {}
    modalities = ("video", "logmel") if options.network == "can" else ("video", "logmel", "bert")
    model = Model(network=options.network, modalities=modalities, pretrained=False, **backbones)
    training = Training(epochs=options.epochs, warmup_epochs=1, learning_rate=1e-3, compile=options.compile)
    name = torch.cuda.get_device_name() if gpu else f"CPU, {options.threads} thread{'s' * (options.threads > 1)}"
    print(f"{options.network}, {model.visual}, {model.audio}; {name}; windows of {training.window}, batches of {training.batch_size}")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        index = write_dataset(folder, [options.rows] * options.trials, size=48, bert_dim=bert_dim, linked=True)
        fold = read_fold(index, 0)[0]
        rows = {
            part: sum(window.stop - window.start for window in partition_windows(getattr(fold, part), training.window, training.hop))
            for part in ("train", "validation")
        }
        plain_seconds, plain_ccc = plain(index, model, training, bert_dim, device)
        print(f"plain: {plain_seconds:.2f} s an epoch, validation CCC {plain_ccc:.3f}", flush=True)
        our_seconds, our_ccc = ours(index, folder / "runs", model, training, device)
    precision = train.choose_precision(training.precision, device)
    print(f"here ({precision}): {our_seconds:.2f} s an epoch, validation CCC {our_ccc:.3f}; {plain_seconds / our_seconds:.1f} times faster")
    step, forward = operations(model, training, bert_dim)
    work = step * rows["train"] + forward * rows["validation"]
    rate = matrix_rate(device, torch.bfloat16 if precision == "bf16" else torch.float32)
    print(
        f"bound: {work / 1e12:.2f} TFLOP an epoch ({rows['train']} rows trained, {rows['validation']} validated) take {work / rate:.2f} s"
        f" at the {rate / 1e12:.2f} TFLOP/s of a matrix product, {work / rate / our_seconds:.0%} of the epoch"
    )


if __name__ == "__main__":
    main()
