"""Which layers thaw when, what that costs in memory, and what frozen BatchNorm does meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from abaw_pipeline.models import create_model
from abaw_pipeline.models.groups import freeze_trunks, release, release_groups, share_never_released
from abaw_pipeline.models.ir50 import IR50
from abaw_pipeline.models.network import Network
from abaw_pipeline.models.reference_names import reference_name
from abaw_pipeline.models.vggish import VGGish

AUTHORS = {
    "visual_backbone": (IR50, [(4, 10), (163, 187), (142, 163)]),
    "vggish": (VGGish, [(16, 18), (14, 16), (12, 14)]),
}
"""Index ranges of the authors' parameter order that they release one after the other."""


@pytest.fixture
def report_network() -> Network:
    """CAN at the report's size, without memory behind its tensors."""
    with torch.device("meta"):
        return create_model("can", ["video", "logmel"])


def trainable(model: Network) -> list[str]:
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad and ".backbone." in name]


@pytest.mark.parametrize("case", AUTHORS)
def test_groups_are_the_authors_parameter_ranges(reference: Path, case: str) -> None:
    make, ranges = AUTHORS[case]
    names = json.loads((reference / "state_dict_keys.json").read_text())[case]
    order = [name for name in names if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]
    with torch.device("meta"):
        backbone = make()
    for group, (start, stop) in zip(backbone.release, ranges, strict=True):
        ours = [reference_name(backbone, f"{path}.{name}") for path in group for name, _ in backbone.get_submodule(path).named_parameters()]
        assert sorted(ours) == sorted(order[start:stop])


def test_visual_and_audio_are_released_together_by_module_path(report_network: Network) -> None:
    video, logmel = "encoders.video.backbone", "encoders.logmel.backbone"
    assert release_groups(report_network) == (
        (f"{video}.output_layer", f"{logmel}.embeddings.4"),
        (f"{video}.units.21", f"{video}.units.22", f"{video}.units.23", f"{logmel}.embeddings.2"),
        (f"{video}.units.18", f"{video}.units.19", f"{video}.units.20", f"{logmel}.embeddings.0"),
    )


def test_small_backbones_train_whole_from_the_start_and_words_have_nothing_to_release() -> None:
    model = create_model("lfan", ["video", "logmel", "bert"], visual="ir_small", audio="vgg_small")
    assert release_groups(model) == (("encoders.video.backbone", "encoders.logmel.backbone"),)
    assert release_groups(create_model("lfan", ["bert"])) == ((),)


def test_backbones_with_different_numbers_of_groups_share_the_steps() -> None:
    with torch.device("meta"):
        model = create_model("can", ["video", "logmel"], visual="ir_small")
    assert [len(group) for group in release_groups(model)] == [2, 1, 1]


def test_the_last_stages_of_a_timm_model_are_released_from_the_end() -> None:
    pytest.importorskip("timm")
    groups = release_groups(create_model("can", ["video"], visual="timm/resnet18"))
    assert groups == tuple((f"encoders.video.backbone.model.layer{number}",) for number in (4, 3, 2))


def test_what_no_step_releases_is_counted(report_network: Network) -> None:
    backbone = report_network.encoders.video.backbone
    kept = sum(parameter.numel() for part in (backbone.input_layer, *backbone.units[:18]) for parameter in part.parameters())
    whole = sum(parameter.numel() for parameter in backbone.parameters())
    assert share_never_released(report_network, "video") == pytest.approx(kept / whole)
    assert 0 < share_never_released(report_network, "logmel") < 0.1, "the convolutions of VGGish"
    assert share_never_released(small("frozen"), "video") == 0


def test_trunks_freeze_and_nothing_else_does(report_network: Network) -> None:
    freeze_trunks(report_network)
    assert not trainable(report_network)
    assert all(parameter.requires_grad for name, parameter in report_network.named_parameters() if ".backbone." not in name)
    for number, group in enumerate(release_groups(report_network), start=1):
        release(report_network, group)
        thawed = tuple(path for paths in release_groups(report_network)[:number] for path in paths)
        assert all(name.startswith(thawed) for name in trainable(report_network))


def kept_for_backward(model: Network) -> list[torch.Size]:
    """Shapes of the tensors that the forward pass keeps, parameters aside."""
    own = {id(parameter) for parameter in model.parameters()}
    kept: list[torch.Size] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in own:
            kept.append(tensor.shape)
        return tensor

    batch = {"video": torch.zeros(2, 3, 3, 40, 40, device="meta"), "logmel": torch.zeros(2, 3, 96, 64, device="meta")}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(batch)
    return kept


def test_frozen_layers_keep_no_activations(report_network: Network) -> None:
    freeze_trunks(report_network)
    assert not [shape for shape in kept_for_backward(report_network) if len(shape) == 4], "a frozen trunk keeps nothing"
    largest, totals = [], []
    for group in release_groups(report_network):
        release(report_network, group)
        kept = kept_for_backward(report_network)
        largest.append(max(shape[-1] for shape in kept if len(shape) == 4 and shape[0] == 6))
        totals.append(sum(shape.numel() for shape in kept))
    report_network.requires_grad_(True)
    totals.append(sum(shape.numel() for shape in kept_for_backward(report_network)))
    assert largest == [5, 10, 10], "output layer at 5 x 5; stage 512 begins, and stage 256 ends, at 10 x 10"
    assert totals == sorted(totals) and totals[-1] > 10 * totals[0]


def small(frozen_batchnorm: str) -> Network:
    torch.manual_seed(0)
    return create_model("can", ["video"], visual="ir_small", tcn_width=0.1, frozen_batchnorm=frozen_batchnorm)


def statistics_move(model: Network) -> bool:
    means = [buffer for name, buffer in model.named_buffers() if name.startswith("encoders.video.backbone") and name.endswith("_mean")]
    before = [mean.clone() for mean in means]
    model({"video": torch.randn(2, 4, 3, 40, 40)})
    return any(not torch.equal(mean, old) for mean, old in zip(means, before, strict=True))


@pytest.mark.parametrize(("choice", "moves"), [("frozen", False), ("updated", True)])
def test_frozen_batchnorm_rests_or_follows_the_batches(choice: str, moves: bool) -> None:
    model = small(choice)
    freeze_trunks(model)
    assert statistics_move(model) == moves
    model.eval()
    assert not statistics_move(model)
    assert statistics_move(model.train()) == moves, "train() must not wake what is frozen"
    release(model, release_groups(model)[0])
    assert statistics_move(model), "a released part trains"


def test_a_dropout_inside_a_frozen_part_rests_too() -> None:
    with torch.device("meta"):
        model = create_model("can", ["video"])
    freeze_trunks(model)
    dropout = model.encoders.video.backbone.output_layer[1]
    assert not dropout.training
    release(model, release_groups(model)[0])
    assert dropout.training
    assert not model.encoders.video.backbone.units[23].training


def test_a_released_part_leaves_evaluation_mode_only_in_training() -> None:
    model = small("frozen")
    freeze_trunks(model)
    model.eval()
    release(model, release_groups(model)[0])
    assert not any(module.training for module in model.modules())
