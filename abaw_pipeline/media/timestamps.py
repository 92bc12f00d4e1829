"""When each picture of a video is shown, from the container alone: exact for variable frame rates, and quick."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import h5py

from abaw_pipeline.atomic import whole_file
from abaw_pipeline.media.container import read_container


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `timestamps`."""
    parser.add_argument("--video", type=Path, required=True, help="video file")
    parser.add_argument("--output", type=Path, required=True, help="HDF5: dataset `time` (n,), seconds from the first frame")


def main(args: argparse.Namespace) -> None:
    """Write frame times and stream facts; raises InputError when the file is no readable video."""
    pictures, sound = read_container(args.video)
    missing = pictures.declared - pictures.hidden - len(pictures.time)
    if missing > 0:
        print(f"{args.video}: the header counts {missing} pictures more than the file holds: it seems cut short", file=sys.stderr)
    with whole_file(args.output) as aside, h5py.File(aside, "w") as file:
        file.create_dataset("time", data=pictures.time)
        file.attrs["first_frame"] = pictures.first_frame
        file.attrs["duration"] = pictures.duration
        file.attrs["fps_mean"] = pictures.fps_mean
        file.attrs["variable_rate"] = pictures.variable_rate
        file.attrs["rate_assumed"] = pictures.rate_assumed
        file.attrs["hidden_pictures"] = pictures.hidden
        file.attrs["declared_pictures"] = pictures.declared
        file.attrs["audio_start"] = math.nan if sound is None else sound.start
        file.attrs["audio_seconds"] = math.nan if sound is None or sound.declared_seconds is None else sound.declared_seconds
    print(f"{args.video.name}: {len(pictures.time)} frames, {pictures.fps_mean:.3f} fps{' (variable)' if pictures.variable_rate else ''}")
