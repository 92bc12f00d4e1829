"""Corpora given as one CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from abaw_pipeline.config import ManifestCorpus
from abaw_pipeline.corpus.manifest import template, trials
from abaw_pipeline.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.mp4", "b.mp4", "other/a.mp4", "a.txt", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("valence,arousal\n0,0\n")
    for name in ("faces_a", "faces_b"):
        (tmp_path / name).mkdir()
    return tmp_path


def manifest(folder: Path, text: str) -> ManifestCorpus:
    path = folder / "manifest.csv"
    path.write_text(text)
    return ManifestCorpus(file=str(path))


def test_all_columns(folder):
    found = trials(
        manifest(
            folder,
            "trial,video,faces,annotation,partition,subject\n"
            "two,b.mp4,faces_b,b.txt,validation,anna\none,a.mp4,faces_a,a.txt,train,bert\nthree,b.mp4,faces_a,,test,anna\n",
        )
    )
    assert [(trial.trial, trial.video, trial.partition, trial.group, trial.subject) for trial in found] == [
        ("one", "a", "train", "bert", "bert"),
        ("two", "b", "validation", "anna", "anna"),
        ("three", "b", "test", "anna", "anna"),
    ]
    assert found[0].faces == folder / "faces_a"
    assert found[0].annotation == folder / "a.txt"


def test_columns_and_cells_that_are_not_there(folder):
    found = {
        trial.trial: trial
        for trial in trials(manifest(folder, "trial,partition,video,faces,annotation\nsound,test,a.mp4,,\npictures,train,,faces_b,a.txt\n"))
    }
    assert (found["sound"].faces, found["sound"].video) == (None, "a")
    assert (found["pictures"].video_path, found["pictures"].video) == (None, "pictures")
    assert found["sound"].annotation is None


def test_shared_videos_and_subjects_join_into_one_group(folder):
    text = "trial,partition,video,subject,faces,annotation\n1,test,a.mp4,x,,\n2,test,b.mp4,x,,\n3,test,b.mp4,y,,\n"
    text += "4,train,,y,faces_a,a.txt\n5,train,,,faces_b,b.txt\n"
    groups = {trial.trial: trial.group for trial in trials(manifest(folder, text))}
    assert len({groups[name] for name in "1234"}) == 1
    assert groups["5"] == "5"


def test_a_byte_order_mark_and_spaces_are_harmless(folder):
    assert trials(manifest(folder, "\ufefftrial, partition, video\n one , test , a.mp4 \n"))[0].trial == "one"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trial,video\none,a.mp4\n", "no column 'partition'"),
        ("trial,partition,vidio\none,test,a.mp4\n", "unknown column 'vidio'"),
        ("trial,partition,video\n", "no row"),
        ("trial,partition,video\none,test\n", "line 2: not as many cells"),
        ("trial,partition,video\none,test,a.mp4,x\n", "line 2: not as many cells"),
        ("trial,partition,video\none,dev,a.mp4\n", "line 2: partition 'dev'"),
        ("trial,partition,video\n../one,test,a.mp4\n", r"line 2: '\.\./one' cannot name"),
        ("trial,partition,video\none,test,c.mp4\n", r"line 2: video .*c\.mp4 is no file"),
        ("trial,partition,faces\none,test,a.mp4\n", r"line 2: faces .*a\.mp4 is no folder"),
        ("trial,partition,video\none,train,a.mp4\n", "line 2: one is for train but has no annotation"),
        ("trial,partition,faces\none,test,faces_a\n", "tells how long these are: one"),
        ("trial,partition,video\none,test,\n", "line 2: one has neither video nor faces"),
        ("trial,partition,video\none,test,a.mp4\none,test,b.mp4\n", "named twice: one"),
        ("trial,partition,video\none,test,a.mp4\ntwo,test,other/a.mp4\n", "two videos named a"),
    ],
)
def test_a_bad_manifest_is_refused_with_file_line_and_remedy(folder, text, message):
    with pytest.raises(InputError, match=message) as raised:
        trials(manifest(folder, text))
    assert "manifest.csv" in str(raised.value)


def test_an_absent_manifest_or_template_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"manifest\.file"):
        trials(ManifestCorpus(file=str(tmp_path / "none.csv")))
    with pytest.raises(InputError, match=r"manifest\.template"):
        template(ManifestCorpus(template=str(tmp_path / "none.txt")))
    assert template(ManifestCorpus()) is None
