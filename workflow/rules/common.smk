"""Everything the rules share: settings, trials, and the functions that turn wildcards into inputs and parameters."""

import os
import re
import shlex
import sys
import zlib
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from abaw_pipeline import config as configuration
from abaw_pipeline.corpus.demo import plan as demo_plan
from abaw_pipeline.corpus.folds import assign_folds
from abaw_pipeline.corpus.trials import find_template, find_trials
from abaw_pipeline.errors import InputError
from abaw_pipeline.sources import command_sources

try:
    SETTINGS = configuration.load(config)
    TRIALS = {trial.trial: trial for trial in find_trials(SETTINGS)}
    TEMPLATE = find_template(SETTINGS)
except (configuration.ConfigError, InputError) as problem:
    # Not a WorkflowError: Snakemake would say, of the user's mistake, on which line of this file it was noticed.
    raise SystemExit(f"Error: {problem}") from None

VIDEOS = {trial.video: trial for trial in TRIALS.values() if trial.video_path}
HAS_TEST_TRIALS = any(trial.partition == "test" for trial in TRIALS.values())
INSTANCES = configuration.instances(SETTINGS)
INSTANCE_FILES = (
    "weights.safetensors",
    "history.csv",
    "metrics.json",
    "validation.csv",
    "test.csv",
)

if SETTINGS.models_dir:
    # Where models lie changes no result, so it reaches the stages beside their settings, not in them.
    os.environ.update(ABAW_MODELS=os.path.abspath(SETTINGS.models_dir))

# Recognition takes longest of all that the dataset waits for: sound goes before faces, so that both end together.
RECOGNITION_FIRST = 10

# Appended to every shell command: the log holds all a stage says, and a failing job shows how it ended.
LOGGED = " > {log:q} 2>&1 || {{ echo 'last lines of {log}:' >&2; tail -n 12 {log:q} >&2; exit 1; }}"


def command_to_continue():
    """The command that this run was started with, made to redo what it left half-done."""
    given = sys.argv[1:]
    known = {"--rerun-incomplete", "--ri"} & set(given)
    return shlex.join(["snakemake", *([] if known else ["--rerun-incomplete"]), *given])


def one_of(names):
    """A regular expression for exactly these names."""
    return "|".join(re.escape(name) for name in sorted(names)) or "(?!)"


def code(command):
    """The package files that a command is made of, as inputs (abaw_pipeline/sources.py)."""
    return list(command_sources(command))


def settings(stage):
    """A function of wildcards that gives the settings which the stage reads; a changed value reruns it."""
    return lambda wildcards: configuration.stage_settings(
        SETTINGS, stage, wildcards.get("model", "")
    )


def shard_of(video):
    """The shard that a video belongs to, whatever other videos there are."""
    return f"{zlib.crc32(video.encode()) % SETTINGS.shards:02d}"


SHARDS = sorted({shard_of(video) for video in VIDEOS})


def shard_videos(wildcards):
    """The videos of a shard."""
    return sorted(video for video in VIDEOS if shard_of(video) == wildcards.shard)


def shard_sounds(wildcards):
    """The sound files of a shard's videos."""
    return collect("<results>/audio/{video}.wav", video=shard_videos(wildcards))


def video_file(wildcards):
    """Where a video lies."""
    return str(VIDEOS[wildcards.video].video_path)


def trial_parts(wildcards):
    """A trial's annotation, or the template that counts a test trial's rows; and its faces."""
    trial = TRIALS[wildcards.trial]
    parts = {}
    if trial.annotation is not None:
        parts["annotation"] = str(trial.annotation)
    elif TEMPLATE is not None:
        parts["template"] = str(TEMPLATE)
    return parts


def trial_faces(wildcards):
    """A trial's folder of face images, when there is one."""
    faces = TRIALS[wildcards.trial].faces
    if faces is None:
        return []
    # What changed in a folder is `images_seen`'s to say; its time says too much (a touch) and too little (an edit).
    return [str(faces)] if SETTINGS.corpus == "demo" else [ancient(str(faces))]


def of_video(pattern):
    """A function of wildcards that gives the file of the trial's video, or nothing for a trial of pictures alone."""

    def file(wildcards):
        trial = TRIALS[wildcards.trial]
        if trial.video_path is None:
            return []
        return pattern.format(video=trial.video, shard=shard_of(trial.video))

    return file


def video_options(parts):
    """The options that name what was made of a trial's video; none for a trial of pictures alone."""
    names = ("timestamps", "record", "logmel", "features")
    return " ".join(option(name, parts.get(name)) for name in names if parts.get(name))


def seed_groups():
    """Seeds in groups of `training.seeds_per_job`, each trained in one process."""
    seeds, size = range(SETTINGS.training.seeds), SETTINGS.training.seeds_per_job
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


def shard_transcripts(wildcards):
    """Transcripts that the user brings for a shard's videos, when the recognition engine reads them."""
    if SETTINGS.recognition.engine != "transcript":
        return []
    folder = Path(SETTINGS.recognition.transcripts)
    if not folder.is_dir():
        raise WorkflowError(
            f"recognition.transcripts: {folder} is no folder; name the one that holds a transcript per video"
        )
    return sorted(
        str(path)
        for video in shard_videos(wildcards)
        for path in folder.glob(f"{video}.*")
    )


# The index, as training, selection and submission ask for it: what would stop them after days of work stops them when
# the work is planned.


@cache
def fold_problem():
    """Why the trials cannot be folded: none for training or validation, too few groups, a leak; empty when they can."""
    try:
        assign_folds(
            TRIALS.values(), SETTINGS.folds.number, grouped=SETTINGS.folds.grouped
        )
    except InputError as problem:
        return str(problem)
    return ""


def index_to_train_on(wildcards):
    """Stops where the trials cannot be folded."""
    if fold_problem():
        raise WorkflowError(fold_problem())
    return "<results>/dataset/index.json"


def index_to_select_with(wildcards):
    """Stops where an emotion has no network: every submission needs both."""
    emotions = SETTINGS.training.emotions
    for emotion in ("valence", "arousal"):
        if not {emotion, "both"} & set(emotions):
            raise WorkflowError(
                f"training.emotions: {', '.join(emotions)} leaves nothing that predicts {emotion}, so nothing could be"
                f" submitted; add {emotion}, or ask for `training` alone"
            )
    return "<results>/dataset/index.json"


def index_to_submit_with(wildcards):
    """Stops where there is no test trial."""
    if not HAS_TEST_TRIALS:
        raise WorkflowError(
            "no trial is for testing, so there is nothing to submit; ask for `report`, whose page has the scores on"
            " validation, or give the corpus test trials"
        )
    return "<results>/dataset/index.json"


def submission_to_report(wildcards):
    """The zipped submission; nothing where there is no test trial, and the page shows the validation alone."""
    return "<results>/submission/submission.zip" if HAS_TEST_TRIALS else []


def vector_files(wildcards):
    """Vectors that the user brings for the model's modalities; what is missing is for `train` to say."""
    folders = SETTINGS.models[wildcards.model].precomputed.values()
    paths = [f"{folder}/{trial}.h5" for folder in folders for trial in TRIALS]
    return [path for path in paths if os.path.isfile(path)]


def corpus_listing():
    """Video files of the demo, so that the scan waits for the generator."""
    return (
        sorted({str(trial.video_path) for trial in TRIALS.values()})
        if SETTINGS.corpus == "demo"
        else []
    )


def images_seen(wildcards):
    """A checksum over the names and sizes of a trial's images: an image edited in place changes no folder's time.

    The demo's images are made by the workflow itself, which knows when they change.
    """
    faces = TRIALS[wildcards.trial].faces
    if SETTINGS.corpus == "demo" or faces is None or not faces.is_dir():
        return ""
    with os.scandir(faces) as entries:
        found = sorted(f"{entry.name} {entry.stat().st_size}" for entry in entries)
    return f"{len(found)} images, {zlib.crc32(chr(10).join(found).encode()):08x}"


def truth_files():
    """Hidden truth of the demo's test trials; none for other corpora."""
    folder = f"{SETTINGS.demo.folder}/truth"
    return (
        [path for path in demo_plan.files(SETTINGS.demo) if path.startswith(folder)]
        if SETTINGS.corpus == "demo"
        else []
    )


def folder_of(paths):
    """The folder that holds the first of these files."""
    return os.path.dirname(paths[0])


def row_count_options(parts):
    """The option that says where a trial's row count comes from."""
    return option("annotation", parts.get("annotation")) or option(
        "template", parts.get("template")
    )


def option(name, value):
    """`--name value` for a shell command, or nothing without a value."""
    value = value[0] if isinstance(value, list) and value else value
    return f"--{name} {shlex.quote(str(value))}" if value else ""
