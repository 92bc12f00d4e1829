"""What is wrong with the demo corpus, on purpose: what real copies of Aff-Wild2 are known to have.

Each tuple below holds the troubles of one video; the first videos of a partition have them, in this order.
"""

from __future__ import annotations

from typing import Literal, get_args

Trouble = Literal[
    "excluded_start",
    "excluded_middle",
    "excluded_end",
    "half_excluded",
    "missing_images",
    "more_images",
    "fewer_images",
    "decoder_off_by_one",
    "left_right_pair",
    "plain_suffix_pair",
    "fps_25",
    "fps_29.97",
    "fps_30",
    "variable_rate",
    "no_sound",
    "silence",
    "short_trial",
    "part_1",
    "part_2",
    "avi",
]

MEANING: dict[Trouble, str] = {
    "excluded_start": "rows of -5 at the start",
    "excluded_middle": "rows of -5 in the middle",
    "excluded_end": "rows of -5 at the end",
    "half_excluded": "a row with one -5 only",
    "missing_images": "frames without an image",
    "more_images": "more images than annotation rows",
    "fewer_images": "fewer images than annotation rows",
    "decoder_off_by_one": "the template has one row more than the decoder gives frames",
    "left_right_pair": "two people, <video>_left and <video>_right",
    "plain_suffix_pair": "two people, <video> and <video>_right",
    "fps_25": "25 frames per second",
    "fps_29.97": "30000/1001 frames per second",
    "fps_30": "30 frames per second",
    "variable_rate": "variable frame rate",
    "no_sound": "no sound track",
    "silence": "a sound track with nothing in it",
    "short_trial": "a trial shorter than 300 frames",
    "part_1": "the first of two trials cut from one source video",
    "part_2": "the second of two trials cut from one source video",
    "avi": "an AVI file (MPEG-4 and MP3)",
}

TRAIN: tuple[tuple[Trouble, ...], ...] = (
    ("left_right_pair", "fps_30"),
    ("plain_suffix_pair", "fps_25"),
    ("part_1", "excluded_start"),
    ("part_2", "excluded_middle"),
    ("variable_rate", "missing_images"),
    ("no_sound", "fps_29.97", "excluded_end"),
    ("silence", "short_trial", "half_excluded"),
)
VALIDATION: tuple[tuple[Trouble, ...], ...] = (("more_images",), ("fewer_images",))
TEST: tuple[tuple[Trouble, ...], ...] = (("decoder_off_by_one",), ("avi",))

assert set(MEANING) == set(get_args(Trouble)) == {trouble for part in (TRAIN, VALIDATION, TEST) for video in part for trouble in video}
