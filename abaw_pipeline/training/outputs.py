"""What an instance leaves in its folder: history, events, weights, predictions, metrics. Times stand apart in timing.json,
so that equal runs leave equal bytes.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from torch import Tensor

from abaw_pipeline.atomic import whole_file, write_json, write_text
from abaw_pipeline.evaluation.metrics import ccc, pcc, rmse
from abaw_pipeline.training.loader import WindowReader

DECIMALS = 6


def write_history(path: Path, history: Sequence[Mapping[str, Any]]) -> None:
    """One line per epoch; the whole file anew each time, so that a resumed run leaves what an unbroken one does."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    for line in history:
        writer.writerow({name: int(value) if isinstance(value, bool) else value for name, value in line.items()})
    write_text(path, text.getvalue())


class Events:
    """TensorBoard events of one instance. The epochs before a resume are written again, those of the killed process removed."""

    def __init__(self, folder: Path, history: Sequence[Mapping[str, Any]]) -> None:
        for old in folder.glob("events.*"):
            old.unlink()
        self._writer = EventFileWriter(str(folder))
        for line in history:
            self.add(line)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write one epoch's numbers."""
        values = [Summary.Value(tag=name, simple_value=float(value)) for name, value in line.items() if name != "epoch"]
        self._writer.add_event(Event(wall_time=time.time(), step=int(line["epoch"]), summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def write_weights(path: Path, weights: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Safetensors, with what is needed to build the network again in its header under `network`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as aside:
        aside.write_bytes(save(tensors, metadata={"network": json.dumps(about, sort_keys=True)}))


def write_predictions(
    path: Path,
    reader: WindowReader,
    prediction: NDArray[np.float64],
    targets: Sequence[str],
    labels: NDArray[np.floating] | None = None,
) -> None:
    """Rows `trial, frame, targets…` and, with `labels`, `{target}_label…`; frames are kept frame numbers from 0."""
    columns = ["trial", "frame", *targets, *(f"{target}_label" for target in targets if labels is not None)]
    values = prediction if labels is None else np.concatenate([prediction, labels], axis=1)
    form = ",%d" + f",%.{DECIMALS}f" * values.shape[1] + "\n"
    frames = reader.kept_frames().tolist()
    with whole_file(path) as aside, aside.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(columns) + "\n")
        first = 0
        for trial in reader.trials:
            rows = zip(frames[first : first + trial.rows], values[first : first + trial.rows].tolist(), strict=True)
            file.writelines(trial.name + form % (frame, *row) for frame, row in rows)
            first += trial.rows


def scores(prediction: NDArray[np.float64], labels: NDArray[np.floating], targets: Sequence[str]) -> dict[str, dict[str, float]]:
    """CCC, RMSE and PCC per target over all rows, of the numbers as `write_predictions` writes them."""
    x, y = np.round(prediction, DECIMALS), np.round(labels.astype(np.float64), DECIMALS)
    return {
        target: {"ccc": ccc(x[:, column], y[:, column]), "rmse": rmse(x[:, column], y[:, column]), "pcc": pcc(x[:, column], y[:, column])}
        for column, target in enumerate(targets)
    }


def write_timing(path: Path, epoch_seconds: Sequence[float], final_seconds: float) -> None:
    """Wall-clock seconds of every epoch and of the final predictions, shared out evenly between instances side by side; and together."""
    rounded = [round(seconds, 3) for seconds in epoch_seconds]
    total = round(sum(epoch_seconds) + final_seconds, 3)
    write_json(path, {"epoch_seconds": rounded, "final_seconds": round(final_seconds, 3), "seconds": total})
