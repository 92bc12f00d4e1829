"""Face images become small squares equal to PIL's, at their own frame; what is missing, surplus or broken is counted."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from abaw_pipeline.errors import InputError
from abaw_pipeline.media import frames


def picture(number: int, size: tuple[int, int] = (112, 112), mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    return Image.fromarray(noise).resize(size).convert(mode)


@pytest.fixture
def trial(tmp_path: Path) -> argparse.Namespace:
    """Eight annotated frames; images 1 to 9 but 3."""
    (tmp_path / "faces").mkdir()
    for number in (1, 2, 4, 5, 6, 7, 8, 9):
        picture(number).save(tmp_path / "faces" / f"{number:05d}.jpg", quality=90)
    (tmp_path / "annotation.txt").write_text("valence,arousal\n" + "0.1,0.2\n" * 5 + "-5,-5\n" + "0,0\n" * 2)
    with h5py.File(tmp_path / "times.h5", "w") as file:
        file["time"] = np.arange(9) / 25
    return argparse.Namespace(
        trial="t",
        faces=tmp_path / "faces",
        annotation=tmp_path / "annotation.txt",
        template=None,
        timestamps=tmp_path / "times.h5",
        output=tmp_path / "out.h5",
        settings="{}",
        threads=1,
    )


def run(trial: argparse.Namespace) -> h5py.File:
    frames.main(trial)
    return h5py.File(trial.output)


def by_pil(path: Path, size: int = 48) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB").resize((size, size)))


def test_every_frame_shows_its_own_image_as_pil_shrinks_it(trial: argparse.Namespace) -> None:
    with run(trial) as file:
        assert file["frames"].shape == (8, 48, 48, 3)
        assert file["frames"].dtype == np.uint8
        for frame in (0, 1, 3, 4, 5, 6, 7):
            np.testing.assert_array_equal(file["frames"][frame], by_pil(trial.faces / f"{frame + 1:05d}.jpg"))


@settings(deadline=None)
@given(
    seed=st.integers(0, 10**6),
    size=st.tuples(st.integers(1, 130), st.integers(1, 130)),
    mode=st.sampled_from(["RGB", "L", "CMYK"]),
    quality=st.integers(1, 100),
    subsampling=st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    progressive=st.booleans(),
    turned=st.booleans(),
)
def test_any_jpeg_has_pils_pixels(seed, size, mode, quality, subsampling, progressive, turned) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1  # "turn me": not done, since PIL does not
    content = io.BytesIO()
    image = picture(seed, size, mode)
    image.save(content, "JPEG", quality=quality, subsampling=subsampling, progressive=progressive, exif=exif)
    np.testing.assert_array_equal(np.asarray(frames.decoded(content.getvalue())), np.asarray(Image.open(content).convert("RGB")))


@settings(deadline=None)
@given(seed=st.integers(0, 10**6), damage=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=3), kept=st.floats(0, 1))
def test_a_damaged_jpeg_fails_or_decodes_as_with_pil(seed, damage, kept) -> None:
    """Bytes overwritten, or the end cut off: what PIL forgives is taken as PIL takes it, what it refuses is refused."""
    file = io.BytesIO()
    picture(seed).save(file, "JPEG")
    content = bytearray(file.getvalue())
    for place, value in damage:
        content[int(place * (len(content) - 1))] = value
    content = content if damage else content[: int(kept * len(content))]
    try:
        expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        expected = None
    try:
        found = np.asarray(frames.decoded(bytes(content)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        found = None
    assert (found is None) == (expected is None)
    if found is not None:
        np.testing.assert_array_equal(found, expected)


def test_a_frame_without_image_is_black_and_flagged_and_everything_is_counted(trial: argparse.Namespace) -> None:
    (trial.faces / "notes.txt").write_text("not an image")
    (trial.faces / ".DS_Store").write_text("not even a file to speak of")
    with run(trial) as file:
        assert file["face_present"][()].tolist() == [True, True, False, True, True, True, True, True]
        assert not file["frames"][2].any()
        counts = {name: file.attrs[name] for name in ("images", "surplus_images", "missing", "other_files", "corrupt", "size")}
    assert counts == {"images": 8, "surplus_images": 1, "missing": 1, "other_files": 1, "corrupt": "[]", "size": 48}


def test_broken_images_are_named_and_count_as_no_face(trial: argparse.Namespace, capsys: pytest.CaptureFixture[str]) -> None:
    whole = (trial.faces / "00002.jpg").read_bytes()
    (trial.faces / "00002.jpg").write_bytes(whole[: len(whole) // 2])
    (trial.faces / "00004.jpg").write_bytes(b"no image at all")
    (trial.faces / "00005.jpg").write_bytes(b"")
    (trial.faces / "00006.jpg").write_bytes(whole[:100])
    with run(trial) as file:
        assert json.loads(file.attrs["corrupt"]) == ["00002.jpg", "00004.jpg", "00005.jpg", "00006.jpg"]
        assert file["face_present"][()].tolist() == [True, False, False, False, False, False, True, True]
        assert not file["frames"][1:6].any()
        assert file.attrs["missing"] == 1
    assert "4 images cannot be decoded (00002.jpg" in capsys.readouterr().err


def test_grey_and_png_images_and_any_width_of_number_will_do(trial: argparse.Namespace) -> None:
    (trial.faces / "00001.jpg").unlink()
    picture(1, mode="L").save(trial.faces / "1.JPG")
    (trial.faces / "00002.jpg").unlink()
    picture(2, size=(90, 130), mode="RGBA").save(trial.faces / "000002.png")
    with run(trial) as file:
        np.testing.assert_array_equal(file["frames"][0], by_pil(trial.faces / "1.JPG"))
        np.testing.assert_array_equal(file["frames"][1], by_pil(trial.faces / "000002.png"))


def test_two_images_for_one_frame_or_an_image_number_zero_are_errors(trial: argparse.Namespace) -> None:
    picture(1).save(trial.faces / "0001.jpg")
    with pytest.raises(InputError, match=r"0+1\.jpg: frame 1 has another image"):
        frames.main(trial)
    (trial.faces / "0001.jpg").rename(trial.faces / "00000.jpg")
    with pytest.raises(InputError, match="count from 1"):
        frames.main(trial)
    assert not trial.output.exists()


def test_a_folder_that_is_not_there_is_an_error(trial: argparse.Namespace) -> None:
    trial.faces = trial.faces / "nowhere"
    with pytest.raises(InputError, match=r"nowhere.*crop the faces first"):
        frames.main(trial)


def test_without_a_folder_all_frames_are_black_and_the_modality_is_absent(trial: argparse.Namespace) -> None:
    trial.faces = None
    with run(trial) as file:
        assert file["frames"].shape == (8, 48, 48, 3)
        assert not file["frames"][()].any()
        assert not file["face_present"][()].any()
        assert file.attrs["images"] == 0
        assert file.attrs["missing"] == 8


def test_the_number_of_frames_is_the_annotations_else_the_templates_else_the_decoders(trial: argparse.Namespace, tmp_path: Path) -> None:
    trial.annotation = None
    with run(trial) as file:
        assert len(file["frames"]) == 9
    trial.template = tmp_path / "template.csv"
    trial.template.write_text("image_location,valence,arousal\n" + "".join(f"t/{number:05d}.jpg,,\n" for number in range(1, 11)))
    with run(trial) as file:
        assert len(file["frames"]) == 10
        assert file.attrs["missing"] == 2
        assert file.attrs["surplus_images"] == 0


def test_threads_and_blocks_change_nothing(trial: argparse.Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    run(trial).close()
    alone = trial.output.read_bytes()
    trial.threads = 3
    run(trial).close()
    assert trial.output.read_bytes() == alone
    monkeypatch.setattr(frames, "BLOCK", 3)
    with run(trial) as file:
        assert file["face_present"][()].tolist() == [True, True, False, True, True, True, True, True]
        np.testing.assert_array_equal(file["frames"][7], by_pil(trial.faces / "00008.jpg"))


def test_another_size(trial: argparse.Namespace) -> None:
    trial.settings = '{"size": 32}'
    with run(trial) as file:
        np.testing.assert_array_equal(file["frames"][0], by_pil(trial.faces / "00001.jpg", 32))


def test_even_thousands_of_broken_images_can_be_named(trial: argparse.Namespace) -> None:
    number = 5200
    trial.annotation.write_text("valence,arousal\n" + "0,0\n" * number)
    for image in range(10, number + 1):
        (trial.faces / f"{image:05d}.jpg").touch()
    with run(trial) as file:
        assert len(json.loads(file.attrs["corrupt"])) == number - 9


def test_a_row_takes_no_more_disk_than_its_pixels(trial: argparse.Namespace) -> None:
    trial.annotation.write_text("valence,arousal\n" + "0,0\n" * 2000)
    run(trial).close()
    assert trial.output.stat().st_size < 2000 * (48 * 48 * 3 + 1) + 20_000
