"""`python -m abaw_pipeline COMMAND …`: runs one stage or tool, importing its module only.

Each module named below has `add_arguments(parser)` and `main(args) -> int | None`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

COMMANDS = {
    "config": ("abaw_pipeline.config_files", "show every setting with its meaning and the report's value"),
    "demo": ("abaw_pipeline.corpus.demo.write", "generate the demo corpus: synthetic people in the Aff-Wild2 layout"),
    "scan": ("abaw_pipeline.corpus.scan", "find the corpus's trials and write trials.csv"),
    "timestamps": ("abaw_pipeline.media.timestamps", "read frame times and stream offsets from a video's container"),
    "wav": ("abaw_pipeline.media.wav", "extract a video's sound, mono 16 kHz, on the frame clock"),
    "logmel": ("abaw_pipeline.media.logmel", "compute the log-mel spectrogram of a sound file"),
    "frames": ("abaw_pipeline.media.frames", "shrink a trial's face images into one array"),
    "recognise": ("abaw_pipeline.language.recognise", "recognise words with times, for a shard of videos"),
    "punctuate": ("abaw_pipeline.language.punctuate", "find the sentence ends of recognised words"),
    "embed": ("abaw_pipeline.language.embed", "compute one feature vector per word"),
    "dataset": ("abaw_pipeline.dataset", "align a trial's labels, frames, sound and words in one HDF5 file"),
    "audit": ("abaw_pipeline.corpus.audit", "table, figure and summary of everything excluded, missing or repaired"),
    "index": ("abaw_pipeline.corpus.index", "assign folds and write the dataset's index with checksums"),
    "train": ("abaw_pipeline.training.train", "train instances of one model, emotion and fold"),
    "select": ("abaw_pipeline.evaluation.select", "choose the instances to submit"),
    "submit": ("abaw_pipeline.evaluation.submission", "write, validate and zip the submission files"),
    "coverage": ("abaw_pipeline.language.coverage", "how much of each video the recognised words cover"),
    "report": ("abaw_pipeline.evaluation.report", "write the report page and its figures"),
    "summary": ("abaw_pipeline.evaluation.summary", "say where the results are and what they score"),
    "check": ("abaw_pipeline.store", "validate dataset files"),
    "validate": ("abaw_pipeline.evaluation.validate", "validate a submission file against the template"),
    "score": ("abaw_pipeline.evaluation.scores", "score submission files against a hidden truth"),
    "compare": ("abaw_pipeline.evaluation.compare", "paired bootstrap of two runs over trials"),
    "ablation": ("abaw_pipeline.evaluation.ablation", "compare all models of a run with one of them"),
    "describe": ("abaw_pipeline.models.describe", "parameters, work and memory of the configured networks"),
    "models": ("abaw_pipeline.models.weights", "list or fetch the pretrained models that a configuration needs"),
}

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run the command named first in `arguments`; returns the exit status (0 fine, 1 findings, 2 bad input)."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: python -m abaw_pipeline COMMAND [options]     (COMMAND --help tells its options)\n")
        for name, (_, text) in COMMANDS.items():
            print(f"  {name:<11} {text}")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"unknown command {name!r}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    _limit_threads(rest)
    module_name, text = COMMANDS[name]
    module = importlib.import_module(module_name)
    parser = argparse.ArgumentParser(prog=f"python -m abaw_pipeline {name}", description=text[0].upper() + text[1:] + ".")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads to use (default: what the libraries choose)")
    module.add_arguments(parser)

    from abaw_pipeline.errors import InputError

    try:
        return int(module.main(parser.parse_args(rest)) or 0)
    except InputError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2


def _limit_threads(arguments: list[str]) -> None:
    """Hold numerical libraries to `--threads`; they read these variables once, at import."""
    if "--threads" in arguments[:-1]:
        for variable in THREAD_VARIABLES:
            os.environ[variable] = arguments[arguments.index("--threads") + 1]


if __name__ == "__main__":
    sys.exit(main())
