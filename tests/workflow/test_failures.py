"""What goes wrong is said once, with file, row and remedy; nothing is left half-written; the rest goes on."""

import os
import re
import resource
import shlex
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY

pytestmark = pytest.mark.slow
ANNOTATIONS = "data/tiny/annotations/VA_Estimation_Challenge"


@pytest.fixture
def broken(unstarted, tmp_path):
    """Break a file of the corpus for one test."""
    saved = []

    def breaking(path: Path, content: bytes) -> Path:
        copy = tmp_path / f"saved{len(saved)}"
        shutil.copy2(path, copy)
        saved.append((path, copy))
        path.write_bytes(content)
        return path

    yield breaking
    for path, copy in saved:
        shutil.copy2(copy, path)
    shutil.rmtree(unstarted.folder / "results", ignore_errors=True)


def test_an_unknown_setting_is_named_with_the_nearest_known_one(unstarted):
    done = unstarted.snakemake("-n", "submission", "--config", "training={epoch: 3}", check=False)
    assert done.returncode != 0
    assert "training.epoch: unknown setting; did you mean 'epochs'?" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_missing_corpus_folder_is_named(unstarted):
    done = unstarted.snakemake("-n", "submission", "--config", "affwild2={folder: data/nowhere}", check=False)
    assert done.returncode != 0
    assert "data/nowhere" in done.stdout and "affwild2" in done.stdout
    assert "Traceback" not in done.stdout and "common.smk" not in done.stdout


def test_an_unreadable_video_fails_alone_and_says_so(unstarted, broken):
    videos = sorted((unstarted.folder / "data/tiny/videos").rglob("*.mp4"))
    broken(videos[0], b"this is no video\n" * 40)
    done = unstarted.snakemake("wav", "--keep-going", check=False)
    output = done.stdout
    assert done.returncode != 0
    assert videos[0].name in output and "Traceback" not in output
    sounds = {path.stem for path in (unstarted.folder / "results/audio").glob("*.wav")}
    assert videos[0].stem not in sounds
    assert videos[1].stem in sounds, "one bad video must not stop the others"
    assert not list((unstarted.folder / "results/audio").glob("*.part*"))
    assert "wav_of_video" in output and "to go on" in output, "the summary names what failed and how to continue"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"valence;arousal\n0.1,0.2\n", "valence,arousal"),
        (b"valence,arousal\n0.1,0.2\n0.3,high\n", "high"),
        (b"valence,arousal\n0.1,0.2\n0.3,1.7\n", "1.7"),
        (b"valence,arousal\n0.1\n", "line 2"),
    ],
)
def test_a_bad_annotation_names_file_row_and_problem(unstarted, broken, content, expected):
    path = broken(sorted((unstarted.folder / ANNOTATIONS / "Train_Set").glob("*.txt"))[0], content)
    done = unstarted.snakemake("results/trials.csv", check=False)
    output = done.stdout
    assert done.returncode != 0
    assert path.name in output and expected in output
    assert not (unstarted.folder / "results/trials.csv").exists()


def test_two_videos_of_one_name_are_both_listed(unstarted):
    video = sorted((unstarted.folder / "data/tiny/videos").rglob("*.mp4"))[0]
    twin = video.parents[1] / "twin" / video.name
    twin.parent.mkdir()
    shutil.copy2(video, twin)
    try:
        done = unstarted.snakemake("-n", "wav", check=False)
    finally:
        shutil.rmtree(twin.parent)
    assert done.returncode != 0
    assert video.parent.name in done.stdout and "twin" in done.stdout


@pytest.mark.parametrize(
    ("wanted", "changed", "expected"),
    [
        ("training", "folds={number: 60}", "set `folds.number` to at most"),
        ("submission", "training={emotions: [valence]}", "leaves nothing that predicts arousal"),
        ("submission", "affwild2={test_list: none, template: none}", "no trial is for testing, so there is nothing to submit"),
        ("words", "recognition={engine: transcript, transcripts: nowhere}", "recognition.transcripts: nowhere is no folder"),
    ],
)
def test_what_cannot_end_well_is_not_begun(unstarted, wanted, changed, expected):
    done = unstarted.snakemake("-n", wanted, "--config", changed, check=False)
    assert done.returncode != 0
    assert done.stdout.count(expected) == 1


def test_a_corpus_without_test_trials_gets_a_report_of_its_validation(unstarted):
    would = unstarted.would_run("report", "--config", "affwild2={test_list: none, template: none}")
    assert would["write_report"] == would["select_instances"] == 1
    assert not would["write_submission"]


def test_a_corpus_without_labels_goes_as_far_as_the_dataset_and_is_told_so_when_planned(unstarted):
    videos = sorted((unstarted.folder / "data/tiny/videos").rglob("*.mp4"))[:2]
    manifest = unstarted.folder / "unlabelled.csv"
    manifest.write_text("trial,partition,video\n" + "".join(f"{path.stem},test,{path}\n" for path in videos))
    unlabelled = ("--config", "corpus=manifest", f"manifest={{file: {manifest}}}")
    would = unstarted.would_run("dataset", "audit", *unlabelled)
    assert would["dataset_of_trial"] == 2 and would["dataset_index"] == would["audit_table"] == 1
    done = unstarted.snakemake("-n", "submission", *unlabelled, check=False)
    assert done.returncode != 0
    assert done.stdout.count("no trial is for training, so there is nothing to train on: give trials") == 1
    assert "snakemake --cores 8 dataset audit" in done.stdout


def command_to_go_on(output):
    """The arguments of the command that the final summary names."""
    found = re.search(r"^to go on .*: snakemake (.*)$", output, flags=re.MULTILINE)
    assert found is not None, output[-3000:]
    return shlex.split(found[1])


@pytest.fixture
def small_disk(unstarted):
    """A disk of 300 kB where the sound files go."""
    place = unstarted.folder / "results/audio"
    place.mkdir(parents=True)
    if os.getuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", place], check=False).returncode:
        pytest.skip("needs root and the right to mount a tmpfs")
    yield place
    subprocess.run(["umount", place], check=True)
    shutil.rmtree(unstarted.folder / "results")


def test_a_full_disk_leaves_whole_files_only_and_the_named_command_goes_on(unstarted, small_disk):
    done = unstarted.snakemake("--keep-going", "--", "wav", check=False)
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    sounds = list(small_disk.glob("*.wav"))
    assert 0 < len(sounds) < TINY["demo"]["videos"]
    for path in sounds:
        with wave.open(str(path)) as sound:
            assert path.stat().st_size >= 44 + 2 * sound.getnframes()
    assert not list(small_disk.glob(".*")), "nothing half-written stays"

    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    unstarted.snakemake(*command_to_go_on(done.stdout))
    assert len(list(small_disk.glob("*.wav"))) == TINY["demo"]["videos"]


def test_a_failed_training_is_told_and_does_not_stop_the_others(finished):
    runs = finished.folder / "results/runs"
    obstacle = runs / "can/both/fold0/seed1/resume"
    obstacle.parent.mkdir()
    obstacle.write_text("no folder")
    try:
        done = finished.snakemake("--keep-going", "--config", "training={seeds: 2}", "--", "training", check=False)
        assert done.returncode != 0
        trained = {path.parent.relative_to(runs).as_posix() for path in runs.rglob("seed1/metrics.json")}
        assert trained == {"can/both/fold1/seed1", "lfan/both/fold0/seed1", "lfan/both/fold1/seed1"}
        summary = done.stdout[done.stdout.rindex("\nfailed: ") :]
        assert summary.count("failed: ") == 1 and "train_1_to_1 (results/runs/can/both/fold0/seed1/" in summary
        assert "seed1/resume" in summary, "why"
        assert "training={seeds: 2}" in command_to_go_on(summary)
    finally:
        for path in runs.rglob("seed1"):
            shutil.rmtree(path)


@pytest.fixture(scope="module")
def stage_commands(finished):
    """For each of four stages the command with the largest output, as the workflow runs it."""
    rules = ("wav_of_video", "logmel_of_video", "dataset_of_trial", "train_0_to_0")
    done = finished.snakemake("-n", "--printshellcmds", "--forcerun", *rules, "--", "submission")
    pattern = r"python -m abaw_pipeline (?:wav|logmel|dataset|train) .*(?= > results/logs/)"
    commands = [shlex.split(command)[1:] for command in re.findall(pattern, done.stdout)]
    commands.sort(key=lambda arguments: (finished.folder / arguments[arguments.index("--output") + 1]).stat().st_size)
    return {arguments[2]: arguments for arguments in commands}


LIMITS = {
    "disk": {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (16_000, 16_000))},
    "memory": {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (200_000_000, 200_000_000))},
    "time": {"timeout": 0.4},
}


@pytest.mark.parametrize("stage", ["wav", "logmel", "dataset", "train"])
def test_a_stage_out_of_disk_memory_or_time_leaves_its_output_whole_or_absent_and_runs_again(finished, stage_commands, tmp_path, stage):
    arguments = list(stage_commands[stage])
    for option in ("--output", "--record") if stage == "wav" else ("--output",):
        place = arguments.index(option) + 1
        arguments[place] = str(tmp_path / "made" / Path(arguments[place]).name)

    def run(**limit):
        subprocess.run([sys.executable, *arguments], cwd=finished.folder, check=True, capture_output=True, **limit)

    def outputs():
        found = [path for path in (tmp_path / "made").rglob("*") if path.suffix in {".wav", ".json", ".h5", ".csv", ".safetensors"}]
        return {path: path.read_bytes() for path in found if not path.name.startswith((".", "timing"))}

    run()
    whole = outputs()
    shutil.rmtree(tmp_path / "made")
    ended = set()
    for name, limit in LIMITS.items():
        try:
            run(**limit)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
            ended.add(name)
        assert outputs().items() <= whole.items(), name
    assert "disk" in ended
    run()
    assert outputs() == whole
