"""What `describe` says of a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from abaw_pipeline import config
from abaw_pipeline.__main__ import main
from abaw_pipeline.models.create import create_model
from abaw_pipeline.models.describe import describe


def small(**options) -> config.Model:
    return config.Model(
        network="lfan", modalities=("video", "logmel", "bert"), visual="ir_small", audio="vgg_small", tcn_width=0.25, **options
    )


def test_parameters_are_those_of_the_network() -> None:
    found = describe(small(), config.Training())
    network = create_model("lfan", ["video", "logmel", "bert"], visual="ir_small", audio="vgg_small", tcn_width=0.25)
    assert found.total == sum(parameter.numel() for parameter in network.parameters())
    assert found.steps[0].trainable == found.total


def test_multiply_adds_are_per_frame_and_match_a_count_by_hand() -> None:
    found = describe(small(), config.Training(window=50))
    convolutions = 20**2 * 27 * 8 + 10**2 * 72 * 16 + 5**2 * 144 * 32 + 5**2 * 288 * 32
    assert found.multiply_adds["video backbone"] == convolutions + 800 * 64
    wider = describe(small(), config.Training(window=100, batch_size=3)).multiply_adds
    assert wider["video backbone"] == found.multiply_adds["video backbone"]


def test_memory_grows_with_the_batch_and_shrinks_with_what_is_frozen() -> None:
    report = config.Model(network="can", modalities=("video", "logmel"))
    one, two, three = (describe(report, config.Training(batch_size=size, window=10)) for size in (1, 2, 3))
    kept = [step.kept_bytes for step in one.steps]
    assert len(kept) == 3
    assert kept == sorted(kept)
    for few, more, many in zip(one.steps, two.steps, three.steps, strict=True):
        assert many.kept_bytes - more.kept_bytes == more.kept_bytes - few.kept_bytes > 0, "each window costs the same"
    assert one.parameters["video backbone"] == pytest.approx(37.3e6, rel=0.01), "METHOD: 37.3 M"
    assert one.parameters["logmel backbone"] == pytest.approx(72.1e6, rel=0.01), "METHOD: 72.1 M"


def test_every_configured_network_is_printed_with_its_inputs_and_releases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        "models: {tiny: {network: can, modalities: [video, bert], visual: ir_small, tcn_width: 0.1}}\nfeatures: {model: minilm}\n"
    )
    assert main(["describe", str(file)]) == 0
    page = capsys.readouterr().out
    assert "tiny: CAN over video, bert" in page
    assert "3 x 40 x 40" in page
    assert "word vectors of 384" in page
    assert "12 windows x 300 rows" in page


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("modles: {}", [], "did you mean 'models'"),
        ("models: {a: {network: can, modalities: [video], visual: ir9}}", [], "ir50, ir_small"),
        ("{}", ["--model", "b"], "can, lfan"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, arguments: list[str], message: str) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    assert main(["describe", str(file), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_configuration_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(tmp_path / "none.yaml")]) == 2
    assert "no such file" in capsys.readouterr().err
