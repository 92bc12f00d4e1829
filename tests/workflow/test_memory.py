"""Training takes no more memory for more data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training_data import measured, multiply, write_dataset

ALLOWED_MB = 30.0
"""For 288 more trials. A trial held open through HDF5 would take 0.5 MB, and what steps left behind once took over 100 MB."""


@pytest.mark.slow
def test_five_times_the_trials_train_in_the_same_memory(tmp_path: Path) -> None:
    model = {"network": "lfan", "modalities": ["video", "logmel", "bert"], "visual": "ir_small", "audio": "vgg_small", "pretrained": False}
    training = {"window": 100, "hop": 100, "batch_size": 4, "epochs": 1, "learning_rate": 1e-3, "precision": "float32"}
    settings = json.dumps({"model": model | {"tcn_width": 0.25}, "training": training})
    index = write_dataset(tmp_path, [110] * 36, size=48, bert_dim=384)
    peaks = []
    for times in (2, 10):
        where = ["--index", str(multiply(index, times)), "--output", str(tmp_path / f"runs{times}"), "--settings", settings]
        what = ["--model", "m", "--emotion", "valence", "--fold", "0", "--seeds", "0", "--threads", "1"]
        peaks.append(measured(["train", *where, *what])[2])
    assert peaks[1] - peaks[0] < ALLOWED_MB, peaks
