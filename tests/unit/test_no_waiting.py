"""A training step asks the device for nothing: run on torch's `meta` device, which has no values to give and raises when asked.
For the same reason a network compiles into one graph."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from abaw_pipeline.models import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups
from abaw_pipeline.models.rows import places_of
from abaw_pipeline.models.trunks import shared_trunks
from abaw_pipeline.training.adam import Adam
from abaw_pipeline.training.augment import Assembly, epoch_crops
from abaw_pipeline.training.index import Scaling, read_fold
from abaw_pipeline.training.loader import WindowReader, partition_windows
from abaw_pipeline.training.loss import ccc_loss
from tests.training_data import write_dataset

META = torch.device("meta")
MODALITIES = ("video", "logmel", "bert")


def test_the_meta_device_tells_who_asks() -> None:
    with pytest.raises((RuntimeError, NotImplementedError)):
        places_of(torch.ones(2, 3, dtype=torch.bool, device=META))


@pytest.mark.parametrize("incomplete", [False, True], ids=["complete", "padding and absent modalities"])
@pytest.mark.parametrize("network", ["lfan", "can"])
def test_a_step_asks_the_device_for_nothing(tmp_path: Path, network: str, incomplete: bool) -> None:
    missing = {"logmel": [0], "bert": [1], "video": [0]} if incomplete else {}
    index = write_dataset(tmp_path, lengths=(9, 40, 40, 40, 40, 40) if incomplete else (40,) * 6, without=missing)
    trials = read_fold(index, 0)[0].train
    reader = WindowReader(trials, partition_windows(trials, 20, 15), 20, MODALITIES, 12)
    assembly = Assembly(modalities=MODALITIES, crop=8, scaling=Scaling(0.0, 1.0), masked=True, device=META)
    with META:
        models = [create_model(network, MODALITIES, image_size=8, bert_dim=6, tcn_width=0.125) for _ in range(2)]
    for model in models:
        freeze_trunks(model)
        release(model, release_groups(model)[0])
        model.train()
    host = reader[list(range(len(reader)))]
    batch = assembly.batch(host, epoch_crops(0, 0, len(reader), 4))
    assert ("mask" in batch) == ("logmel_places" in batch) == incomplete
    with shared_trunks(models[:1]) as through_trunk:
        for model in models:
            loss = ccc_loss(model(through_trunk(batch)), host["label"][..., [0]].to(META), batch.get("mask"))
            loss.backward()
            Adam(model.parameters(), 0.01).step(1e-3)
    assert loss.device == META


@pytest.mark.slow
@pytest.mark.parametrize("network", ["lfan", "can"])
def test_a_network_is_one_graph_with_masks_and_without(network: str) -> None:
    model = create_model(network, MODALITIES, visual="ir_small", audio="vgg_small", image_size=16, bert_dim=6, tcn_width=0.125).eval()
    compiled = torch.compile(model, backend="eager", fullgraph=True)  # fullgraph: raises where the graph would break
    for rows in ([7, 7], [7, 4], [5, 3]):
        batch = {"video": torch.randn(2, 7, 3, 16, 16), "logmel": torch.randn(2, 7, 96, 64), "bert": torch.randn(2, 7, 6)}
        real = torch.arange(7) < torch.tensor(rows)[:, None]
        if not real.all():
            heard = torch.tensor([[True], [False]]).expand(-1, 7)
            batch |= {"mask": real, "places": places_of(real), "logmel_mask": heard, "logmel_places": places_of(heard & real)}
        with torch.no_grad():
            assert torch.equal(compiled(batch), model(batch))
