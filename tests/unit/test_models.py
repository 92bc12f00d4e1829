"""Networks over any modalities, with absent ones and with padding."""

from __future__ import annotations

import subprocess
import sys
from itertools import permutations

import pytest
import torch
from torch import Tensor

from abaw_pipeline.errors import InputError
from abaw_pipeline.models import create_model, load_reference_state_dict
from abaw_pipeline.models.network import Network
from abaw_pipeline.training.loss import ccc_loss

ALL = ("video", "logmel", "bert")
NETWORKS = ("lfan", "can")


def small(name: str, modalities: tuple[str, ...] = ALL, **options) -> Network:
    torch.manual_seed(0)
    return create_model(name, modalities, **{"visual": "ir_small", "audio": "vgg_small", "bert_dim": 24, "tcn_width": 0.1, **options})


def batch(windows: int, rows: int, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {"video": (3, 40, 40), "logmel": (96, 64), "bert": (24,)}
    return {name: torch.randn(windows, rows, *shape, generator=generator) for name, shape in shapes.items()}


def extended(given: dict[str, Tensor], rows: int) -> dict[str, Tensor]:
    """`given` with `rows` rows of rubbish behind, masked as padding."""
    rubbish = batch(given["video"].shape[0], rows, seed=9)
    longer = {name: torch.cat([given[name], 5 * rubbish[name]], dim=1) for name in ALL}
    real = torch.ones(given["bert"].shape[:2], dtype=torch.bool)
    longer["mask"] = torch.cat([given.get("mask", real), torch.zeros(real.shape[0], rows, dtype=torch.bool)], dim=1)
    return longer


def statistics(model: Network, part: str = "") -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in model.named_buffers() if part in name}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("modalities", [order for length in (1, 2, 3) for order in permutations(ALL, length)], ids="-".join)
def test_any_modalities_in_any_order_give_targets_between_minus_one_and_one(name: str, modalities: tuple[str, ...]) -> None:
    for targets in (1, 2):
        output = small(name, modalities, targets=targets)({modality: batch(2, 5)[modality] for modality in modalities})
        assert output.shape == (2, 5, targets)
        assert (output.abs() <= 1).all()


def test_the_leader_of_lfan_is_the_first_modality_given() -> None:
    assert small("lfan", ("logmel", "video")).fusion.leader == "logmel"


def test_precomputed_vectors_stand_for_a_modality() -> None:
    model = small("lfan", precomputed={"video": 17, "bert": 3})
    given = {"video": torch.randn(2, 5, 17), "logmel": torch.randn(2, 5, 96, 64), "bert": torch.randn(2, 5, 3)}
    assert model(given).shape == (2, 5, 1)
    assert model.encoders.video.backbone is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("vit", ["video"]), "lfan, can"),
        (("can", []), "non-empty"),
        (("can", ["video", "video"]), "repeats"),
        (("can", ["smell"]), "smell"),
        (("can", ["video"], {"visual": "ir51"}), "ir50, ir_small"),
        (("can", ["logmel"], {"audio": "vgg"}), "vggish, vgg_small"),
        (("can", ["bert"], {"precomputed": {"video": 4}}), "not among"),
        (("can", ["bert"], {"targets": 0}), "at least 1"),
    ],
)
def test_what_cannot_be_built_is_refused_with_what_can(arguments: tuple, message: str) -> None:
    name, modalities, options = (*arguments, {})[:3]
    with pytest.raises(ValueError, match=message):
        create_model(name, modalities, **options)


def test_a_batch_without_a_modality_is_refused_by_name() -> None:
    given = batch(1, 4)
    del given["logmel"]
    with pytest.raises(KeyError, match="logmel"):
        small("can")(given)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_masks_that_are_true_everywhere_change_nothing(name: str, training: bool) -> None:
    model = small(name, dropout=0.0).train(training)
    given = batch(2, 6)
    true = torch.ones(2, 6, dtype=torch.bool)
    plain = model(given)
    masked = model({**given, "mask": true, "video_mask": true, "bert_mask": true})
    torch.testing.assert_close(masked, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_padding_behind_a_window_changes_no_output_before_it_no_loss_and_no_statistics(name: str, training: bool) -> None:
    given, target = batch(2, 10), torch.rand(2, 13, 1)
    short, long = small(name, dropout=0.0).train(training), small(name, dropout=0.0).train(training)
    plain, padded = short(given), long(extended(given, 3))
    torch.testing.assert_close(padded[:, :10], plain, rtol=0, atol=1e-6)
    assert padded.isfinite().all()
    mask = extended(given, 3)["mask"]
    torch.testing.assert_close(ccc_loss(padded, target, mask), ccc_loss(plain, target[:, :10]), rtol=0, atol=1e-6)
    torch.testing.assert_close(statistics(long), statistics(short), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_neighbour_of_padding_alone_changes_nothing_even_in_training(name: str) -> None:
    given, neighbour = batch(1, 8), batch(1, 8, seed=2)
    alone, beside = small(name, dropout=0.0), small(name, dropout=0.0)
    both = {modality: torch.cat([given[modality], neighbour[modality]]) for modality in ALL}
    both["mask"] = torch.tensor([[True] * 8, [False] * 8])
    torch.testing.assert_close(beside(both)[:1], alone(given), rtol=0, atol=1e-6)
    torch.testing.assert_close(statistics(beside), statistics(alone), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_scores_the_same_with_a_padded_neighbour_and_without(name: str) -> None:
    # In float64, where the order of additions, which follows the batch's size, does not show.
    model = small(name).eval().double()
    given = {modality: values.double() for modality, values in batch(2, 9).items()}
    together = model({**given, "mask": torch.tensor([[True] * 9, [True] * 4 + [False] * 5])})
    torch.testing.assert_close(together[:1], model({modality: given[modality][:1] for modality in ALL}), rtol=0, atol=1e-9)
    torch.testing.assert_close(together[1:, :4], model({modality: given[modality][1:, :4] for modality in ALL}), rtol=0, atol=1e-9)


@pytest.mark.parametrize("absent", ALL)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_absent_modality_contributes_nothing_and_leaves_its_statistics_alone(name: str, absent: str) -> None:
    model = small(name, dropout=0.0)
    given = {**batch(2, 7), f"{absent}_mask": torch.zeros(2, 7, dtype=torch.bool)}
    before = statistics(model, f"encoders.{absent}.")
    output = model(given)
    torch.testing.assert_close(statistics(model, f"encoders.{absent}."), before, rtol=0, atol=0)
    torch.testing.assert_close(model({**given, absent: 100 * given[absent]}), output, rtol=0, atol=0)
    output.sum().backward()
    gradients = [parameter.grad for part, parameter in model.named_parameters() if f"encoders.{absent}." in part]
    assert all(gradient is None or not gradient.any() for gradient in gradients)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_without_sound_does_not_disturb_the_statistics_of_its_neighbour(name: str) -> None:
    given = batch(2, 7)
    model, alone = small(name, dropout=0.0), small(name, dropout=0.0)
    model({**given, "logmel_mask": torch.tensor([[True] * 7, [False] * 7])})
    alone({modality: given[modality][:1] for modality in ALL})
    torch.testing.assert_close(statistics(model, "encoders.logmel."), statistics(alone, "encoders.logmel."), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_with_nothing_at_all_and_windows_of_one_row_give_finite_numbers_and_gradients(name: str) -> None:
    nothing = {f"{modality}_mask": torch.zeros(2, 6, dtype=torch.bool) for modality in ALL}
    single = {"mask": torch.zeros(2, 6, dtype=torch.bool)}
    single["mask"][0, 0] = True
    for masks in (nothing, single, {"mask": single["mask"] & False}):
        model = small(name)
        output = model({**batch(2, 6), **masks})
        output.square().sum().backward()
        assert output.isfinite().all()
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_a_few_batches_of_training_are_enough_for_evaluation_to_predict_with_a_like_spread(name: str) -> None:
    model = small(name, dropout=0.0)
    given = batch(4, 30)
    for _ in range(40):
        trained = model(given).std()
    assert model.eval()(given).std() > 0.5 * trained


@pytest.mark.parametrize("name", NETWORKS)
def test_predictions_are_float32_under_autocast_and_close(name: str) -> None:
    model = small(name).eval()
    with torch.no_grad():
        exact = model(batch(2, 6))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            fast = model(batch(2, 6))
    assert fast.dtype == torch.float32
    assert not torch.equal(fast, fast.bfloat16().float())
    torch.testing.assert_close(fast, exact, rtol=0, atol=0.05)


def test_a_face_model_of_timm_resizes_and_scales_inside() -> None:
    pytest.importorskip("timm")
    model = small("can", ("video",), visual="timm/resnet18").eval()
    backbone = model.encoders.video.backbone
    seen: list[Tensor] = []
    backbone.model.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        assert model({"video": torch.ones(1, 2, 3, 40, 40)}).shape == (1, 2, 1)
    white = (1 - backbone.mean) / backbone.std
    torch.testing.assert_close(seen[0], white.expand(2, 3, 96, 96))


def test_an_unknown_timm_model_is_refused() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="no such model"):
        small("can", ("video",), visual="timm/nothing18")


def test_timm_missing_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="pip install timm"):
        small("can", ("video",), visual="timm/resnet18")


def test_weights_by_the_authors_names_survive_a_round_trip_for_any_modalities() -> None:
    from abaw_pipeline.models.reference_names import reference_name

    for name in NETWORKS:
        source, target = small(name, ("bert",)), small(name, ("bert",), targets=1)
        for parameter in source.parameters():
            torch.nn.init.normal_(parameter)
        load_reference_state_dict(target, {reference_name(source, key): tensor for key, tensor in source.state_dict().items()})
        torch.testing.assert_close(target.state_dict(), source.state_dict(), rtol=0, atol=0)


def test_the_registry_of_weights_is_imported_without_torch() -> None:
    check = "import sys, abaw_pipeline.models; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
