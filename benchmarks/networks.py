"""Time of forward and forward + backward passes of the networks, as Markdown tables for docs/networks.md.

    python benchmarks/networks.py [--rows 32] [--repeats 3] [--threads 1]

On a CPU: the report's networks over one small batch, and the small ones at the demo's batch. On a GPU, besides: the report's batch of
12 x 300 in float32, TF32 and bf16, eager and compiled, with channels last or not, with peak memory.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline.models.create import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.models.network import Network

MODALITIES = {"can": ("video", "logmel"), "lfan": ("video", "logmel", "bert")}
SMALL = {"visual": "ir_small", "audio": "vgg_small"}


def batch(windows: int, rows: int, device: str) -> dict[str, Tensor]:
    """Standard normal inputs."""
    shapes = {"video": (3, 40, 40), "logmel": (96, 64), "bert": (768,)}
    return {name: torch.randn(windows, rows, *shape, device=device) for name, shape in shapes.items()}


def release_up_to(model: Network, step: int) -> None:
    """Freeze the trunks, then release the first `step` groups; 0 trains everything."""
    if step == 0:
        model.requires_grad_(True)
        return
    freeze_trunks(model)
    for group in release_groups(model)[:step]:
        release(model, group)


def seconds(function: Callable[[], Any], repeats: int, device: str) -> float:
    """Best of `repeats` after one to warm up. CPU seconds of all threads on a CPU with one thread, so that other jobs matter less."""
    clock = time.process_time if device == "cpu" and torch.get_num_threads() == 1 else time.perf_counter
    best = float("inf")
    for turn in range(repeats + 1):
        start = clock()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        if turn > 0:
            best = min(best, clock() - start)
    return best


def measure(model: Network, inputs: dict[str, Tensor], repeats: int, *, compiled: bool = False, bf16: bool = False) -> tuple[float, float]:
    """Seconds of a forward pass in evaluation, and of forward and backward in training."""
    device = next(iter(inputs.values())).device.type
    run = torch.compile(model) if compiled else model
    context = torch.autocast(device, dtype=torch.bfloat16) if bf16 else contextlib.nullcontext()

    def forward() -> None:
        with torch.no_grad(), context:
            run(inputs)

    def both() -> None:
        model.zero_grad(set_to_none=True)
        with context:
            loss = run(inputs).square().mean()
        loss.backward()

    model.eval()
    alone = seconds(forward, repeats, device)
    model.train()
    return alone, seconds(both, repeats, device)


def on_cpu(rows: int, repeats: int) -> None:
    """The report's sizes over `rows` rows, then the small networks over the demo's batch."""
    print(f"| network, 1 x {rows} rows, float32 | layout | trains | forward, s | forward + backward, s |\n|---|---|---|---|---|")
    inputs = batch(1, rows, "cpu")
    for name, modalities in MODALITIES.items():
        for layout in (torch.contiguous_format, torch.channels_last):
            model = create_model(name, modalities).to(memory_format=layout)
            steps = (1, 3, 0) if layout is torch.channels_last else (1,)
            for step in steps:
                release_up_to(model, step)
                alone, both = measure(model, inputs, repeats)
                words = f"groups 1 to {step}" if step > 1 else f"group {step}" if step else "everything"
                print(f"| {name} | {_layout(layout)} | {words} | {alone:.2f} | {both:.2f} |", flush=True)
    print("\n| small network, 4 x 150 rows | TCN width | layout | forward, ms | forward + backward, ms |\n|---|---|---|---|---|")
    inputs = batch(4, 150, "cpu")
    for name, modalities in MODALITIES.items():
        for width in (1.0, 0.25):
            for layout in (torch.contiguous_format, torch.channels_last):
                model = create_model(name, modalities, tcn_width=width, **SMALL).to(memory_format=layout)
                alone, both = measure(model, inputs, repeats)
                print(f"| {name} | {width} | {_layout(layout)} | {alone * 1e3:.0f} | {both * 1e3:.0f} |", flush=True)


def on_gpu(repeats: int) -> None:
    """The report's batch in every precision, layout and mode."""
    print(f"\n{torch.cuda.get_device_name()}, 12 x 300 rows, groups 1 to 3 train\n")
    columns = ("network", "precision", "layout", "mode", "forward, ms", "forward + backward, ms", "rows/s trained", "peak GiB")
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    inputs = batch(12, 300, "cuda")
    for name, modalities in MODALITIES.items():
        for precision in ("float32", "tf32", "bf16"):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision != "float32"
            for layout in (torch.contiguous_format, torch.channels_last):
                for compiled in (False, True):
                    torch.cuda.reset_peak_memory_stats()
                    model = create_model(name, modalities).to("cuda").to(memory_format=layout)
                    release_up_to(model, 3)
                    alone, both = measure(model, inputs, repeats, compiled=compiled, bf16=precision == "bf16")
                    peak = torch.cuda.max_memory_allocated() / 2**30
                    mode = "compiled" if compiled else "eager"
                    times = f"{alone * 1e3:.1f} | {both * 1e3:.1f} | {3600 / both:,.0f}"
                    print(f"| {name} | {precision} | {_layout(layout)} | {mode} | {times} | {peak:.1f} |", flush=True)


def _layout(layout: torch.memory_format) -> str:
    return "channels last" if layout is torch.channels_last else "contiguous"


def main() -> None:
    """Run what the machine can run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    on_cpu(arguments.rows, arguments.repeats)
    if torch.cuda.is_available():
        on_gpu(arguments.repeats)
    else:
        print("\nNo GPU here: nothing measured in TF32, bf16 or compiled.")


if __name__ == "__main__":
    main()
