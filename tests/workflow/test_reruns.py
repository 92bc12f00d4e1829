"""Only what changed runs again, told by dry runs on a finished run."""

import json
import os
import shutil
import subprocess

import pytest

pytestmark = pytest.mark.slow

END = {"select_instances", "write_submission", "write_report"}
TRAIN = {"train_0_to_0"}
AFTER_DATASET = {"audit_table", "coverage_table", "dataset_index"} | TRAIN | END
MODULES = {
    "corpus/scan.py": {"scan_corpus"} | AFTER_DATASET,
    "media/timestamps.py": {"timestamps_of_video", "frames_of_trial", "dataset_of_trial"} | AFTER_DATASET,
    "media/logmel.py": {"logmel_of_video", "dataset_of_trial"} | AFTER_DATASET,
    "media/frames.py": {"frames_of_trial", "dataset_of_trial"} | AFTER_DATASET,
    "language/recognise.py": {"recognise_shard", "punctuate_shard", "embed_shard", "dataset_of_trial"} | AFTER_DATASET,
    "language/embed.py": {"embed_shard", "dataset_of_trial"} | AFTER_DATASET,
    "dataset.py": {"dataset_of_trial"} | AFTER_DATASET,
    "training/loop.py": TRAIN | END,
    "models/can.py": TRAIN | END,
    "evaluation/report.py": {"write_report"},
    "evaluation/compare.py": set(),
    "models/describe.py": set(),
    "config.py": set(),
}


def test_a_finished_run_has_nothing_to_do(finished):
    assert not finished.would_run("submission")


@pytest.mark.parametrize("module", MODULES)
def test_an_edited_module_reruns_its_stage_and_what_follows(finished, restored, module):
    (path,) = restored(f"abaw_pipeline/{module}")
    path.write_text(path.read_text() + "\n# edited\n")
    assert set(finished.would_run("submission")) == MODULES[module]


def test_an_edited_shared_module_reruns_every_stage_that_imports_it(finished, restored):
    (path,) = restored("abaw_pipeline/alignment.py")
    path.write_text(path.read_text() + "\n# edited\n")
    would = set(finished.would_run("submission"))
    assert "dataset_of_trial" in would and "wav_of_video" not in would and "recognise_shard" not in would


def test_touched_code_reruns_nothing(finished):
    for path in (finished.folder / "abaw_pipeline").rglob("*.py"):
        path.touch()
    for path in (finished.folder / "data/tiny").rglob("*"):
        os.utime(path)
    assert not finished.would_run("submission")


def test_another_commit_reruns_what_it_changed_and_the_way_back_reruns_nothing(finished):
    module = finished.folder / "abaw_pipeline/media/logmel.py"
    code = module.read_bytes()

    def git(*arguments):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t", *arguments], cwd=finished.folder, check=True, capture_output=True)

    try:
        git("init")
        git("add", "Snakefile", "workflow", "abaw_pipeline")
        git("commit", "-m", "one")
        module.write_bytes(code + b"\n# edited\n")
        git("commit", "-a", "-m", "two")
        assert set(finished.would_run("submission")) == MODULES["media/logmel.py"]
        git("checkout", "HEAD~1")
        assert not finished.would_run("submission")
    finally:
        module.write_bytes(code)
        shutil.rmtree(finished.folder / ".git", ignore_errors=True)


def test_without_a_target_everything_is_meant(finished):
    assert set(finished.would_run("--forcerun", "write_report")) == {"write_report"}


def test_snakemakes_own_report_can_be_made(finished):
    finished.snakemake("--report", "report.html")
    page = (finished.folder / "report.html").read_text()
    (finished.folder / "report.html").unlink()
    assert "index.html" in page and "train_0_to_0" in page


SETTINGS = {
    "wav.ffmpeg=/usr/bin/true": {"wav_of_video", "logmel_of_video"},
    "recognition.chunk_seconds=0.5": {"recognise_shard"},
    "punctuation.pause_seconds=0.7": {"punctuate_shard"},
    "features.layers=2": {"embed_shard"},
    "frames.size=44": {"frames_of_trial"},
    "logmel.window=past": {"dataset_of_trial"},
    "fidelity.rows=report": {"dataset_of_trial"},
    "folds.grouped=false": {"dataset_index"},
    "training.epochs=2": TRAIN,
    "training.threads=2": {"write_report"},  # the page tells all settings
    "submission.number=1": {"select_instances"},
    "audit.max_excluded_share=0.9": {"audit_table"},
    "report.bootstrap=30": {"write_report"},
}


@pytest.mark.parametrize("change", SETTINGS)
def test_a_changed_setting_reruns_the_stages_that_read_it(finished, change):
    place, value = change.split("=")
    section, key = place.split(".")
    would = set(finished.would_run("submission", "--config", f"{section}={{{key}: {value}}}"))
    first = SETTINGS[change]
    assert first <= would
    if first:
        assert "write_report" in would
    order = ["wav_of_video", "recognise_shard", "punctuate_shard", "embed_shard", "frames_of_trial", "dataset_of_trial"]
    order += ["audit_table", "dataset_index", "train_0_to_0", "select_instances", "write_report"]
    before = order[: min((order.index(rule) for rule in first if rule in order), default=len(order))]
    assert not would & set(before), "what comes before the stage must not rerun"


def test_a_changed_annotation_reruns_its_trial(finished, restored):
    record = json.loads((finished.folder / "results/dataset/index.json").read_text())
    trial = next(item for item in record["trials"] if item["partition"] == "train")["trial"]
    (path,) = restored(f"data/tiny/annotations/VA_Estimation_Challenge/Train_Set/{trial}.txt")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], "0.5,0.5"]) + "\n")
    would = finished.would_run("submission")
    assert would["dataset_of_trial"] == would["frames_of_trial"] == 1
    assert not {"wav_of_video", "recognise_shard"} & set(would)


def test_a_changed_added_or_removed_image_reruns_its_trial(finished, restored):
    faces = next((finished.folder / "data/tiny/cropped_aligned").iterdir())
    (folder,) = restored(f"data/tiny/cropped_aligned/{faces.name}")
    images = sorted(folder.glob("*.jpg"))
    images[0].write_bytes(images[1].read_bytes() + b"\0\0")
    for change in ("changed", "removed"):
        would = finished.would_run("submission")
        assert (would["frames_of_trial"], would["dataset_of_trial"]) == (1, 1), change
        assert not {"wav_of_video", "embed_shard"} & set(would)
        images[0].unlink(missing_ok=True)


def test_a_changed_video_reruns_what_is_made_of_it(finished, restored):
    video = next((finished.folder / "data/tiny/videos").rglob("*.mp4"))
    (path,) = restored(video.relative_to(finished.folder).as_posix())
    path.write_bytes(path.read_bytes() + b"\0" * 16)
    would = finished.would_run("submission")
    assert would["wav_of_video"] == would["timestamps_of_video"] == would["logmel_of_video"] == would["recognise_shard"] == 1


def test_an_added_video_reruns_its_shard_alone(finished, restored):
    corpus, train = finished.folder / "data/tiny", "annotations/VA_Estimation_Challenge/Train_Set"
    video = next(path for path in corpus.rglob("*.mp4") if (corpus / "cropped_aligned" / path.stem).is_dir())
    places = ("videos/added.mp4", "cropped_aligned/added", f"{train}/added.txt")
    new_video, new_faces, new_annotation = restored(*(f"data/tiny/{place}" for place in places))
    shutil.copy2(video, new_video)
    shutil.copytree(corpus / "cropped_aligned" / video.stem, new_faces)
    shutil.copy2(next((corpus / train).iterdir()), new_annotation)
    would = finished.would_run("submission")
    once = {"timestamps_of_video", "wav_of_video", "logmel_of_video", "frames_of_trial"}
    once |= {"recognise_shard", "punctuate_shard", "embed_shard"}
    assert {rule: would[rule] for rule in once} == dict.fromkeys(once, 1)
    # The shard's other trials are aligned anew, since its file is another; those of the other shard are not.
    assert 1 < would["dataset_of_trial"] < len(list((finished.folder / "results/dataset").glob("*.h5")))


def test_a_removed_trial_leaves_the_others_alone(finished, restored):
    folder = finished.folder / "data/tiny/annotations/VA_Estimation_Challenge/Train_Set"
    (path,) = restored(sorted(folder.iterdir())[0].relative_to(finished.folder).as_posix())
    path.unlink()
    would = finished.would_run("submission")
    assert {"scan_corpus", "dataset_index"} | TRAIN | END <= set(would)
    assert not would["frames_of_trial"]


@pytest.mark.parametrize("stage", ["logmel", "frames", "dataset", "training", "audit", "report"])
def test_stages_can_be_asked_for_by_name(finished, stage):
    assert not finished.would_run(stage)


def test_a_stage_can_be_forced(finished):
    would = finished.would_run("submission", "--forcerun", "logmel_of_video")
    assert {"logmel_of_video", "dataset_of_trial"} <= set(would) and "wav_of_video" not in would


def test_counts_above_the_limits_stop_before_training(finished):
    strict = ("--config", "audit={max_excluded_share: 0.0}")
    try:
        done = finished.snakemake("dataset", *strict, check=False)
        assert done.returncode != 0
        assert "max_excluded_share" in done.stdout
    finally:
        finished.snakemake("submission")
