"""Speed and memory of the media stages, on one core.

    python benchmarks/media.py [--folder DIR] [--torchaudio]

Each stage runs as its own process with one thread, as the workflow runs it, and is charged its whole processor time, imports included;
`wall` is the clock's. Says the figures beside the targets: log-mel 500 x real time, wav 150 x, frames 3000 images of 112 x 112 per
second; memory for three hours of sound below 300 MB; at most 8 kB of disk per row. Exit status 1 when one is missed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.media_making import make_video

HOURS, MINUTES, IMAGES = 3, 10, 20_000


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    wall: float
    cpu: float
    megabytes: float


def stage(*arguments: str) -> Cost:
    """Run a stage with one thread."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "abaw_pipeline", *arguments, "--threads", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    process = os.posix_spawn(sys.executable, command, environment)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def apart(make: Callable[[Path, int], None], path: Path, number: int) -> None:
    """Make an input in a process of its own: a stage is charged the memory that this process has when it starts the stage."""
    process = multiprocessing.get_context("spawn").Process(target=make, args=(path, number))
    process.start()
    process.join()


def write_video(path: Path, seconds: int) -> None:
    """Small dark pictures, 25 a second, and noise in AAC."""
    noise = np.random.default_rng(2).standard_normal(seconds * 44100, np.float32) * np.float32(0.1)
    make_video(path, [number / 25 for number in range(seconds * 25)], sound=noise, options={"preset": "ultrafast"})


def write_sound(path: Path, seconds: int) -> None:
    """Noise, a minute at a time."""
    minute = (np.random.default_rng(0).standard_normal(60 * 16000) * 3000).astype("<i2").tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        for _ in range(seconds // 60):
            file.writeframes(minute)


def write_faces(folder: Path, number: int) -> None:
    """Drawn faces with a little noise: about 4 kB each, as the corpus's are."""
    folder.mkdir()
    random = np.random.default_rng(1)
    for image in range(200):
        canvas = Image.new("RGB", (112, 112), tuple(random.integers(60, 200, 3).tolist()))
        draw = ImageDraw.Draw(canvas)
        draw.ellipse((15, 8, 97, 108), fill=tuple(random.integers(120, 250, 3).tolist()))
        for x in (35, 65):
            draw.ellipse((x, 40, x + 14, 50), fill=(20, 20, 30))
        draw.arc((38, 60, 74, 90), 20, 160, fill=(150, 30, 30), width=4)
        noisy = np.asarray(canvas).astype(int) + random.normal(0, 6, (112, 112, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{image + 1:05d}.jpg", quality=90)
    for image in range(200, number):
        shutil.copyfile(folder / f"{image % 200 + 1:05d}.jpg", folder / f"{image + 1:05d}.jpg")


class Findings:
    """Figures beside their targets."""

    def __init__(self) -> None:
        self.missed = 0

    def say(self, what: str, value: float, unit: str, target: float, at_least: bool = True) -> None:
        """One line."""
        fine = value >= target if at_least else value <= target
        self.missed += not fine
        print(
            f"{what:<52} {value:>9.1f} {unit:<12} {'at least' if at_least else 'at most'} {target:g}  {'' if fine else 'MISSED'}",
            flush=True,
        )


def pil_alone(faces: Path) -> float:
    """Images per second of processor time that PIL decodes and shrinks, with nothing around it."""
    paths = sorted(faces.iterdir())[:5000]
    began = time.process_time()
    for path in paths:
        np.asarray(Image.open(path).convert("RGB").resize((48, 48)))
    return len(paths) / (time.process_time() - began)


def measure(folder: Path, findings: Findings) -> None:
    """All stages, in turn."""
    seconds = MINUTES * 60
    write_sound(folder / "a.wav", seconds)
    (folder / "a.json").write_text(json.dumps({"track": True}))
    cost = stage("logmel", "--wav", str(folder / "a.wav"), "--record", str(folder / "a.json"), "--output", str(folder / "a.h5"))
    findings.say(f"log-mel, {MINUTES} minutes (wall {cost.wall:.1f} s)", seconds / cost.cpu, "x real time", 500)

    hours = HOURS * 3600
    write_sound(folder / "long.wav", hours)
    cost = stage("logmel", "--wav", str(folder / "long.wav"), "--record", str(folder / "a.json"), "--output", str(folder / "long.h5"))
    findings.say(f"log-mel, {HOURS} hours (wall {cost.wall:.1f} s)", hours / cost.cpu, "x real time", 500)
    findings.say(f"log-mel, memory for {HOURS} hours", cost.megabytes, "MB", 300, at_least=False)
    (folder / "long.wav").unlink()

    apart(write_video, folder / "v.mp4", seconds)
    cost = stage("wav", "--video", str(folder / "v.mp4"), "--output", str(folder / "v.wav"), "--record", str(folder / "v.json"))
    findings.say(f"wav, {MINUTES} minutes of AAC at 44.1 kHz (wall {cost.wall:.1f} s)", seconds / cost.cpu, "x real time", 150)
    findings.say("wav, memory", cost.megabytes, "MB", 300, at_least=False)
    cost = stage("timestamps", "--video", str(folder / "v.mp4"), "--output", str(folder / "t.h5"))
    findings.say(f"timestamps (wall {cost.wall:.1f} s)", seconds / cost.cpu, "x real time", 150)

    apart(write_faces, folder / "faces", IMAGES)
    (folder / "annotation.txt").write_text("valence,arousal\n" + "0,0\n" * IMAGES)
    options = ["--trial", "t", "--faces", str(folder / "faces"), "--annotation", str(folder / "annotation.txt")]
    cost = stage("frames", *options, "--timestamps", str(folder / "t.h5"), "--output", str(folder / "f.h5"))
    size = (folder / "faces" / "00001.jpg").stat().st_size
    findings.say(f"frames, {IMAGES} of 112 x 112, {size / 1000:.1f} kB (wall {cost.wall:.1f} s)", IMAGES / cost.cpu, "images/s", 3000)
    print(f"{'  PIL alone, decode and resize, in a loop':<52} {pil_alone(folder / 'faces'):>9.1f} images/s     (this machine just now)")
    findings.say("frames, memory", cost.megabytes, "MB", 300, at_least=False)
    findings.say("frames, disk per row", (folder / "f.h5").stat().st_size / IMAGES / 1000, "kB", 8, at_least=False)


def compare_torchaudio() -> None:
    """What torchaudio would take for the same spectrogram, and what importing it costs."""
    from abaw_pipeline.media.logmel import log_mel_spectrogram

    sound = np.random.default_rng(0).standard_normal(600 * 16000).astype(np.float32) * 0.1
    began = time.process_time()
    log_mel_spectrogram(sound)
    ours = time.process_time() - began
    began = time.process_time()
    import torch
    import torchaudio

    importing = time.process_time() - began
    torch.set_num_threads(1)
    transform = torchaudio.transforms.MelSpectrogram(
        16000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        f_min=125,
        f_max=7500,
        n_mels=64,
        power=1.0,
        center=False,
        mel_scale="htk",
        norm=None,
    )
    began = time.process_time()
    (transform(torch.from_numpy(sound)) + 0.01).log()
    theirs = time.process_time() - began
    print(f"log-mel of 10 minutes: numpy {600 / ours:.0f} x real time; torchaudio {600 / theirs:.0f} x, and {importing:.1f} s to import")


def main() -> int:
    """Run in a temporary folder, or in the one named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to make the inputs (about 700 MB, removed at the end)")
    parser.add_argument("--torchaudio", action="store_true", help="compare with torchaudio's spectrogram")
    args = parser.parse_args()
    findings = Findings()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        measure(Path(folder), findings)
    if args.torchaudio:
        compare_torchaudio()
    return 1 if findings.missed else 0


if __name__ == "__main__":
    sys.exit(main())
