"""Scale of the corpus part: a generated tree with Aff-Wild2's counts is scanned, audited, folded and indexed.

    python benchmarks/corpus_scale.py [--folder DIR] [--share 1.0] [--keep]

594 trials (356 training, 76 validation, 162 test), 2.99 million frames, the longest trial 47,434. Annotations, template,
times, log-mel and word vectors have their real sizes; videos are empty files (the scan does not open them), a trial has three image files,
and frames are 48 x 48 arrays that were never written, which read as black: 20 GB of pixels would measure the disk. Says the
seconds and peak memory of each command, of `frames` and `dataset` for the longest trial, whose images all exist, and of
planning the whole run of the report (`snakemake -n submission`, processor time).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline import dataset
from abaw_pipeline.config import DemoCorpus, Folds, Settings
from abaw_pipeline.corpus.folds import assign_folds
from abaw_pipeline.corpus.trials import read_trials

REPOSITORY = Path(__file__).resolve().parents[1]
TOTAL, LONGEST, FPS = 2_990_000, 47_434, 30.0
TRIALS = {"train": 356, "validation": 76, "test": 162}
WORDS_PER_SECOND, DIMENSION = 2.0, 768
BUDGET_SECONDS, BUDGET_MB = 60.0, 500.0
PARTS = 3  # videos cut from one source video

RUN_AND_TELL = """
import sys
from abaw_pipeline.__main__ import main
status = main(sys.argv[1:])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
sys.exit(status)
"""


def plan(share: float) -> dict[str, tuple[str, int]]:
    """Partition and frames of each trial, by name: log-normal lengths, one of them the longest, `TOTAL` in all."""
    counts = {partition: round(number * share) for partition, number in TRIALS.items()}
    drawn = np.random.default_rng(5).lognormal(0, 0.7, sum(counts.values()))
    drawn[0] = 0
    frames = np.clip(drawn / drawn.sum() * (TOTAL * share - LONGEST), 60, LONGEST).astype(int)
    frames[0] = LONGEST
    partitions = [(partition, number) for partition, count in counts.items() for number in range(count)]
    names = [
        f"{number // PARTS}-{25 + 5 * list(TRIALS).index(partition)}-1280x720-{number % PARTS + 1}" for partition, number in partitions
    ]
    return {name: (partition, int(length)) for name, (partition, _), length in zip(names, partitions, frames, strict=True)}


def make_tree(root: Path, planned: dict[str, tuple[str, int]]) -> None:
    """The official layout."""
    random = np.random.default_rng(6)
    image = Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8))
    template = ["image_location,valence,arousal"]
    test = []
    for number, (name, (partition, frames)) in enumerate(planned.items()):
        video = root / "videos" / f"batch{number % 3}" / f"{name}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        video.touch()
        faces = root / "cropped_aligned" / name
        faces.mkdir(parents=True)
        for shown in (1, 2, 3):
            image.save(faces / f"{shown:05d}.jpg")
        if partition == "test":
            test.append(name)
            template += [f"{name}/{row:05d}.jpg,," for row in range(1, frames + 1)]
            continue
        part = "Train_Set" if partition == "train" else "Validation_Set"
        values = np.round(random.uniform(-1, 1, (frames, 2)), 3)
        values[random.random(frames) < 0.03] = -5
        annotation = root / "annotations" / "VA_Estimation_Challenge" / part / f"{name}.txt"
        annotation.parent.mkdir(parents=True, exist_ok=True)
        np.savetxt(annotation, values, fmt="%.3g", delimiter=",", header="valence,arousal", comments="")
    (root / "test_set").mkdir()
    (root / "test_set" / "Valence_Arousal_Estimation_Challenge_test_set_release.txt").write_text("\n".join(test) + "\n")
    (root / "test_set" / "CVPR_5th_ABAW_VA_test_set_sample.txt").write_text("\n".join(template) + "\n")


def make_parts(folder: Path, name: str, frames: int) -> dict[str, Path]:
    """What the stages before the dataset leave for a video and a trial, in real sizes."""
    seconds = frames / FPS
    parts = {part: folder / part / f"{name}.h5" for part in ("timestamps", "logmel", "features", "frames")}
    parts["record"] = folder / "audio" / f"{name}.json"
    for path in parts.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(parts["timestamps"], "w") as file:
        file["time"] = np.arange(frames) / FPS
        file.attrs.update({"fps_mean": FPS, "variable_rate": False, "rate_assumed": False, "hidden_pictures": 0})
    with h5py.File(parts["logmel"], "w") as file:
        file.create_dataset("logmel", (round(100 * (seconds + 1)), 64), np.float16, chunks=(1024, 64))
        file.attrs["edge_padded_samples"] = 16000
    with h5py.File(parts["features"], "w") as file:
        words = int(seconds * WORDS_PER_SECOND)
        start = np.arange(words) / WORDS_PER_SECOND
        group = file.create_group(name)
        group.attrs.update(dict.fromkeys(dataset.WORD_COUNTS, 0))
        group["words"] = np.random.default_rng(0).standard_normal((words, DIMENSION)).astype(np.float16)
        group["word_time"] = np.stack([start, start + 0.3], axis=1)
        group.create_dataset("word_text", data=["word"] * words, dtype=h5py.string_dtype(), shape=(words,))
    with h5py.File(parts["frames"], "w") as file:
        file.create_dataset("frames", (frames, 48, 48, 3), np.uint8, chunks=(64, 48, 48, 3))
        file["face_present"] = np.random.default_rng(1).random(frames) > 0.05
        file.attrs.update({"images": frames, "surplus_images": 0, "other_files": 0, "corrupt": "[]"})
    record = {"track": True, "seconds": seconds, "picture_seconds": seconds, "offset_seconds": 0.0} | dict.fromkeys(
        dataset.SAMPLE_COUNTS, 0
    )
    parts["record"].write_text(json.dumps(record))
    return parts


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds and peak MB of a command of the package, as the kernel counts them for its own process."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN_AND_TELL, *command], stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - began, int(done.stdout.split()[-1]) / 1024


def planning(folder: Path, root: Path) -> tuple[float, float]:
    """Processor seconds and peak MB of `snakemake -n submission` with the report's settings: 360 instances."""
    own = folder / "own.yaml"
    own.write_text(
        json.dumps({"corpus": "affwild2", "affwild2": {"folder": str(root.resolve())}, "results": str(folder.resolve() / "planned")})
    )
    preset = REPOSITORY / "workflow/presets/abaw5.yaml"
    command = ["-m", "snakemake", "-n", "--cores", "8", "--configfile", str(preset), str(own.resolve()), "--", "submission"]
    process = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(what: str, seconds: float, memory: float) -> None:
    """One line of the result."""
    print(f"{what:<28}{seconds:8.1f} s{memory:8.0f} MB", flush=True)


def measure(folder: Path, share: float) -> bool:
    """Make everything below `folder`, run the commands, and say whether they keep to the budget."""
    root, results = folder / "affwild2", folder / "results"
    planned = plan(share)
    make_tree(root, planned)
    settings = Settings(corpus="affwild2").model_dump(mode="json", include={"corpus", "demo", "affwild2", "manifest"})
    settings["affwild2"]["folder"] = str(root)
    settings["demo"] = DemoCorpus().model_dump(mode="json")
    table, datasets = results / "trials.csv", results / "dataset"
    spent = {"scan": measured(["scan", "--settings", json.dumps(settings), "--output", str(table)])}

    found = read_trials(table)
    shared = {"settings": "{}", "annotation": None, "template": None}
    began = time.perf_counter()
    for trial in found:
        parts = make_parts(results, trial.video, planned[trial.trial][1])
        of_trial = {
            "trial": trial.trial,
            "video": trial.video,
            "partition": trial.partition,
            "group": trial.group,
            "annotation": trial.annotation,
        }
        dataset.main(argparse.Namespace(**shared | of_trial | parts, output=datasets / f"{trial.trial}.h5"))
    print(f"(parts and {len(found)} runs of `dataset` in one process: {time.perf_counter() - began:.0f} s)", flush=True)

    of_all = ["--trials", str(table), "--datasets", str(datasets)]
    spent["audit"] = measured(
        ["audit", *of_all, "--settings", "{}", "--output", str(results / "audit.csv"), "--figures", str(results / "report")]
    )
    began = time.perf_counter()
    assign_folds(found, Folds().number)
    spent["folds"] = (time.perf_counter() - began, 0.0)
    spent["index (checksums)"] = measured(["index", *of_all, "--settings", "{}", "--output", str(datasets / "index.json")])
    for what, (seconds, memory) in spent.items():
        report(what, seconds, memory)

    spent["snakemake -n submission"] = planning(folder, root)
    report("snakemake -n submission", *spent["snakemake -n submission"])
    longest = next(trial for trial in found if planned[trial.trial][1] == LONGEST)
    spent |= {f"longest trial: {what}": cost for what, cost in longest_trial(folder, longest.trial, root, results).items()}
    size = sum(path.stat().st_size for path in datasets.glob("*.h5"))
    with table.open() as file:
        rows = sum(int(row["rows"] or row["template_rows"]) for row in csv.DictReader(file))
    print(f"{len(found)} trials, {rows:,} rows; dataset files without frames: {size / rows:.0f} bytes per row")
    seconds = sum(spent[what][0] for what in ("scan", "audit", "folds"))
    memory = max(memory for _, memory in spent.values())
    print(
        f"scan + audit + folds: {seconds:.1f} s (budget {BUDGET_SECONDS:.0f} s); most memory: {memory:.0f} MB (budget {BUDGET_MB:.0f} MB)"
    )
    return seconds < BUDGET_SECONDS and memory < BUDGET_MB


def longest_trial(folder: Path, name: str, root: Path, results: Path) -> dict[str, tuple[float, float]]:
    """`frames` on 47,434 images of 112 x 112 (one file, linked), then `dataset`."""
    faces, original = folder / "faces", folder / "face.jpg"
    faces.mkdir()
    Image.effect_noise((112, 112), 64).convert("RGB").save(original, quality=90)
    for number in range(1, LONGEST + 1):
        os.link(original, faces / f"{number:05d}.jpg")
    annotation = next((root / "annotations").rglob(f"{name}.txt"))
    options = ["--trial", name, "--annotation", str(annotation), "--timestamps", str(results / "timestamps" / f"{name}.h5")]
    frames, output = str(folder / "frames.h5"), str(folder / "longest" / f"{name}.h5")
    spent = {"frames": measured(["frames", *options, "--faces", str(faces), "--output", frames, "--threads", "1"])}
    options += ["--video", name, "--partition", "train", "--group", name, "--frames", frames, "--settings", "{}", "--output", output]
    options += ["--logmel", str(results / "logmel" / f"{name}.h5"), "--features", str(results / "features" / f"{name}.h5")]
    spent["dataset"] = measured(["dataset", *options, "--record", str(results / "audio" / f"{name}.json")])
    for what, (seconds, memory) in spent.items():
        report(f"longest trial: {what}", seconds, memory)
    return spent


def main() -> None:
    """Run the benchmark; exit status 1 when a budget is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(".tmp/corpus_scale"), help="made anew, and removed at the end")
    parser.add_argument("--share", type=float, default=1.0, help="of the 594 trials")
    parser.add_argument("--keep", action="store_true", help="keep the folder")
    args = parser.parse_args()
    shutil.rmtree(args.folder, ignore_errors=True)
    args.folder.mkdir(parents=True)
    try:
        within = measure(args.folder, args.share)
    finally:
        if not args.keep:
            shutil.rmtree(args.folder)
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
