"""The official tree, found by scanning; names, candidates, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from abaw_pipeline.__main__ import main
from abaw_pipeline.config import AffWild2Corpus, DemoCorpus, Settings
from abaw_pipeline.corpus import scan
from abaw_pipeline.corpus.affwild2 import group_of, template, trials
from abaw_pipeline.corpus.demo.plan import trials as demo_trials
from abaw_pipeline.corpus.trials import find_template, find_trials, read_rows, read_trials
from abaw_pipeline.errors import InputError

TRAIN = ("122-60-1920x1080-1", "122-60-1920x1080-2", "135-24-1920x1080_left", "135-24-1920x1080_right", "118", "118-30-640x480")
VALIDATION = ("video10_1_left", "video59", "video59_right")
TEST = ("video2_left", "7-60-1280x720")
VIDEOS = {
    "batch1": ("122-60-1920x1080-1.mp4", "122-60-1920x1080-2.mp4", "135-24-1920x1080.mp4", "118.avi"),
    "batch2": ("118-30-640x480.mp4", "video10_1.mp4", "video59.mp4", "unused.mp4"),
    "new_vids": ("video2.avi", "7-60-1280x720.MP4"),
}
TEMPLATE_NAME = "CVPR_5th_ABAW_VA_test_set_sample.txt"
LIST_NAME = "Valence_Arousal_Estimation_Challenge_test_set_release.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the official layout with other tracks and leftovers around it."""
    root = tmp_path / "affwild2"
    for folder, names in VIDEOS.items():
        for name in names:
            write(root / "videos" / folder / name)
    for track in ("VA_Estimation_Challenge", "EXPR_Classification_Challenge", "AU_Detection_Challenge"):
        for part, names in (("Train_Set", TRAIN), ("Validation_Set", VALIDATION)):
            for name in names:
                write(root / "annotations" / track / part / f"{name}.txt", "valence,arousal\n0,0\n-5,-5\n0.5,0.5\n")
    for name in TRAIN + VALIDATION + TEST:
        write(root / "cropped_aligned" / name / "00001.jpg")
    write(root / "annotations" / "VA_Estimation_Challenge" / "Train_Set" / ".DS_Store")
    write(root / "__MACOSX" / "videos" / "batch1" / "118.avi")
    write(root / "test_set" / LIST_NAME, "\n".join(TEST) + "\n\n")
    rows = "".join(f"{name}/{number:05d}.jpg,,\n" for name in TEST for number in range(1, 5))
    write(root / "test_set" / TEMPLATE_NAME, "image_location,valence,arousal\n" + rows)
    return root


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def of(root: Path, **settings: object) -> AffWild2Corpus:
    return AffWild2Corpus(folder=str(root), **settings)  # type: ignore[arg-type]


def test_every_trial_is_found_with_its_files(root):
    found = trials(of(root))
    assert [(trial.partition, trial.trial) for trial in found] == [
        *(("train", name) for name in sorted(TRAIN)),
        *(("validation", name) for name in sorted(VALIDATION)),
        *(("test", name) for name in sorted(TEST)),
    ]
    assert all(trial.video_path is not None and trial.video_path.is_file() for trial in found)
    assert all(trial.faces == root / "cropped_aligned" / trial.trial for trial in found)
    assert {trial.trial for trial in found if trial.annotation is None} == set(TEST)
    assert template(of(root)) == root / "test_set" / TEMPLATE_NAME


def test_a_side_is_stripped_only_when_the_full_name_is_no_video(root):
    write(root / "videos" / "batch2" / "video59_right.mp4")
    video = {trial.trial: trial.video for trial in trials(of(root))}
    assert video["135-24-1920x1080_left"] == video["135-24-1920x1080_right"] == "135-24-1920x1080"
    assert video["video10_1_left"] == "video10_1"
    assert video["video59_right"] == "video59_right"


@pytest.mark.parametrize(
    ("video", "group"),
    [
        ("122-60-1920x1080-3", "122-60-1920x1080"),
        ("video10_1", "video10"),
        ("video10", "video10"),
        ("122-60-1920x1080", "122-60-1920x1080"),
        ("118", "118"),
        ("118-30-640x480", "118-30-640x480"),
        ("28-30-1280x720-2", "28-30-1280x720"),
        ("24-30", "24-30"),
    ],
)
def test_the_group_is_the_source_video(video, group):
    assert group_of(video) == group


def test_two_videos_of_one_name_are_listed(root):
    other = write(root / "videos" / "new_vids" / "video59.avi")
    with pytest.raises(InputError) as raised:
        trials(of(root))
    message = str(raised.value)
    assert str(other) in message
    assert str(root / "videos" / "batch2" / "video59.mp4") in message
    assert "video59_right" in message, "every trial with the trouble is named at once"


def test_naming_the_video_folders_settles_two_candidates(root):
    write(root / "old_copies" / "video59.mp4")
    with pytest.raises(InputError, match="2 videos named video59"):
        trials(of(root))
    assert len(trials(of(root, videos=("videos/batch1", "videos/batch2", "videos/new_vids")))) == 11


def test_a_trial_without_video_or_images_is_named(root):
    (root / "videos" / "batch1" / "118.avi").unlink()
    (root / "cropped_aligned" / "video59" / "00001.jpg").unlink()
    (root / "cropped_aligned" / "video59").rmdir()
    with pytest.raises(InputError) as raised:
        trials(of(root))
    assert "118: 0 videos named 118" in str(raised.value)
    assert "video59: no folder" in str(raised.value)


def test_images_none_means_trials_without_pictures(root):
    assert {trial.faces for trial in trials(of(root, images="none"))} == {None}


def test_a_nested_unpacked_images_folder_is_found(root):
    (root / "cropped_aligned").rename(root / "moved")
    (root / "cropped_aligned").mkdir()
    (root / "moved").rename(root / "cropped_aligned" / "cropped_aligned")
    assert trials(of(root))[0].faces == root / "cropped_aligned" / "cropped_aligned" / "118"


def test_without_test_set(root):
    (root / "test_set" / LIST_NAME).unlink()
    with pytest.raises(InputError, match=r"affwild2.test_list.*'none'"):
        trials(of(root))
    settings = of(root, test_list="none")
    assert {trial.partition for trial in trials(settings)} == {"train", "validation"}
    assert template(settings) is None


def test_two_templates_are_listed_and_one_can_be_named(root):
    other = write(root / "test_set" / "CVPR_6th_ABAW_VA_test_set_sample.txt", "image_location,valence,arousal\n")
    with pytest.raises(InputError, match="CVPR_6th") as raised:
        template(of(root))
    assert TEMPLATE_NAME in str(raised.value)
    assert template(of(root, template=f"test_set/{other.name}")) == other
    assert template(of(root, template="none")) is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), "set `affwild2.folder`"),
        (lambda root: (root / "annotations").rename(root.parent / "gone"), "affwild2.annotations"),
        (lambda root: (root / "cropped_aligned").rename(root.parent / "gone"), "affwild2.images"),
        (lambda root: write(root / "annotations/VA_Estimation_Challenge/Train_Set/video59.txt"), "video59: train, validation"),
        (lambda root: write(root / "test_set" / LIST_NAME, "118\n"), "118: train, test"),
        (lambda root: write(root / "test_set" / LIST_NAME, "video2_left\nvideo2_left\n"), "named twice: video2_left"),
        (lambda root: write(root / "test_set" / LIST_NAME, "video2_left\n../118\n"), r"line 2: '\.\./118' cannot name"),
        (lambda root: write(root / "annotations/VA_Estimation_Challenge/Train_Set/a b.txt"), "'a b' cannot name"),
    ],
)
def test_a_damaged_tree_is_refused_with_a_remedy(root, damage, message):
    damage(root)
    with pytest.raises(InputError, match=message):
        trials(of(root))


def test_image_folders_are_not_listed(root, monkeypatch):
    """The corpus has three million images; the workflow calls this whenever it is parsed."""
    import os

    listed = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(Path(folder)) or real(folder))
    trials(of(root))
    assert not [folder for folder in listed if folder.parent.name == "cropped_aligned"]


def test_pictures_beside_the_videos_do_no_harm(root):
    for name in ("cover.jpg", "a.png", "z.jpg"):
        write(root / "videos" / "batch1" / name)
    assert len(trials(of(root))) == 11


def test_many_problems_are_counted_not_all_listed(root):
    for number in range(30):
        write(root / "annotations/VA_Estimation_Challenge/Train_Set" / f"{number + 500}.txt")
    with pytest.raises(InputError, match="and 10 trials more"):
        trials(of(root))


def test_the_demos_groups_are_those_of_the_official_names():
    demo = demo_trials(DemoCorpus())
    assert {trial.trial: trial.group for trial in demo} == {trial.trial: group_of(trial.video) for trial in demo}


def test_a_link_back_to_the_top_does_no_harm(root):
    (root / "videos" / "all").symlink_to(root, target_is_directory=True)
    assert len(trials(of(root))) == 11


def settings(root: Path, **affwild2: object) -> str:
    return json.dumps({"corpus": "affwild2", "affwild2": {"folder": str(root)} | affwild2})


def run_scan(root: Path, output: Path) -> int:
    return main(["scan", "--settings", settings(root), "--output", str(output)])


def test_scan_writes_the_table_that_read_trials_gives_back(root, tmp_path):
    output = tmp_path / "results" / "trials.csv"
    assert run_scan(root, output) == 0
    rows = {row["trial"]: row for row in read_rows(output)}
    assert rows["118"]["rows"] == "3"
    assert (rows["video2_left"]["rows"], rows["video2_left"]["template_rows"]) == ("", "4")
    assert read_trials(output) == find_trials(Settings.model_validate_json(settings(root)))


def test_scan_refuses_a_bad_annotation_and_writes_nothing(root, tmp_path, capsys):
    path = write(root / "annotations/VA_Estimation_Challenge/Train_Set/118.txt", "valence,arousal\n0,0\n0,2\n")
    output = tmp_path / "results" / "trials.csv"
    assert run_scan(root, output) == 2
    said = capsys.readouterr().err
    assert f"{path}, line 3" in said
    assert "Traceback" not in said
    assert not output.exists()


def test_scan_refuses_a_template_for_other_trials(root):
    write(root / "test_set" / TEMPLATE_NAME, "image_location,valence,arousal\nvideo2_left/00001.jpg,,\nother/00001.jpg,,\n")
    with pytest.raises(InputError, match=r"without a row: 7-60-1280x720; not a test trial: other"):
        scan.table(Settings.model_validate_json(settings(root)))


def test_parsing_stays_light():
    """The workflow imports these whenever it is parsed."""
    code = "import sys; import abaw_pipeline.corpus.affwild2, abaw_pipeline.corpus.manifest; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "transformers", "cv2", "h5py", "pandas", "numpy", "matplotlib"} & set(done.stdout.split())


def test_find_template_follows_the_corpus(root):
    assert find_template(Settings.model_validate_json(settings(root))) == root / "test_set" / TEMPLATE_NAME
