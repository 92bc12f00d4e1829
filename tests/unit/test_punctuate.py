"""Words in are words out, whatever the punctuation engine returns."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from abaw_pipeline.errors import InputError
from abaw_pipeline.language import punctuate

WORD = st.text(st.characters(blacklist_categories=["Z", "C"]), min_size=1, max_size=8)


def said(*texts: str, gap: float = 0.1) -> list[dict[str, Any]]:
    return [{"text": t, "start": n * (0.4 + gap), "end": n * (0.4 + gap) + 0.4, "confidence": 1.0} for n, t in enumerate(texts)]


def texts(words: list[dict[str, Any]]) -> list[str]:
    return [word["punctuated"] for word in words]


def test_a_pause_ends_a_sentence() -> None:
    words = said("what", "a", "day") + [word | {"start": word["start"] + 1.9, "end": word["end"] + 1.9} for word in said("so", "nice")]
    result = punctuate.punctuated(words, punctuate.pauses(0.5)(words))
    assert texts(result) == ["What", "a", "day.", "So", "nice."]
    assert [word["sentence"] for word in result] == [0, 0, 0, 1, 1]
    assert [word["text"] for word in result] == ["what", "a", "day", "so", "nice"]


def test_a_pause_of_exactly_the_limit_counts() -> None:
    words = [{"text": "a", "start": 0.0, "end": 1.0}, {"text": "b", "start": 1.5, "end": 2.0}]
    assert punctuate.pauses(0.5)(words) == [".", "."]
    assert punctuate.pauses(0.51)(words) == ["", "."]


def test_none_is_one_sentence() -> None:
    words = said("one", "two", gap=9.0)
    assert texts(punctuate.punctuated(words, punctuate.no_marks(words))) == ["One", "two"]


def test_marks_that_words_bring_are_kept_and_not_doubled() -> None:
    words = said("Oh!", "dear,", "me")
    result = punctuate.punctuated(words, ["", "", "."])
    assert texts(result) == ["Oh!", "Dear,", "me."]
    assert [word["sentence"] for word in result] == [0, 1, 1]
    assert texts(punctuate.punctuated(words, [".", ",", "."])) == ["Oh!", "Dear,", "me."]


@given(st.lists(WORD, max_size=30), st.floats(0, 1), st.data())
def test_every_word_stays_with_its_time(spoken: list[str], gap: float, data: st.DataObject) -> None:
    words = said(*spoken, gap=gap)
    marks = [data.draw(st.sampled_from(["", *".,?-:"])) for _ in words]
    result = punctuate.punctuated(words, marks)
    assert [{key: word[key] for key in ("text", "start", "end", "confidence")} for word in result] == words
    numbers = [word["sentence"] for word in result]
    assert numbers == sorted(numbers) and set(numbers) == set(range(max(numbers, default=-1) + 1))
    assert len(punctuate.pauses(0.5)(words)) == len(words)


def fake_pipe(limit: int, seen: list[str]) -> Any:
    """A classifier that clips its text after `limit` sub-words, labels words by their length, and skips odd characters."""

    def pipe(text: str) -> list[dict[str, Any]]:
        seen.append(text)
        tokens = []
        for word in re.finditer(r"\S+", text):
            for part in re.finditer(r"\w{1,3}|[^\w\s]", word.group()):
                if part.group().isascii():
                    start, end = word.start() + part.start(), word.start() + part.end()
                    tokens.append({"entity": "0.,?-:"[len(word.group()) % 6], "start": start, "end": end})
        return tokens[:limit]

    return pipe


@settings(deadline=None, max_examples=40)
@given(st.lists(WORD, max_size=60), st.sampled_from([1, 7, 100, 10_000]), st.integers(1, 8))
@example(["a"] * 500, 10_000, 1)
@example(["ha"] * 231, 512, 1)
@example(["x" * 40] * 3, 5, 1)
def test_the_model_gives_one_mark_per_word_whatever_it_clips(spoken: list[str], limit: int, repeats: int) -> None:
    from abaw_pipeline.language import punctuation_model

    spoken = spoken * repeats
    marks = punctuation_model.predict(fake_pipe(limit, []), spoken)
    assert len(marks) == len(spoken)
    assert set(marks) <= {"", *".,?-:"}


def test_each_mark_is_the_one_of_its_own_word_across_chunks() -> None:
    from abaw_pipeline.language import punctuation_model

    spoken = ["w" * (1 + n * n % 11) for n in range(1000)]
    expected = ["" if len(word) % 6 == 0 else "0.,?-:"[len(word) % 6] for word in spoken]
    seen: list[str] = []
    assert punctuation_model.predict(fake_pipe(10_000, seen), spoken) == expected
    assert [len(text.split()) for text in seen] == [230, 230, 230, 230, 120]
    assert punctuation_model.predict(fake_pipe(100, []), spoken) == expected


def tiny_classifier(folder: Path) -> Path:
    """A random token classifier with the real model's labels, as transformers saves it."""
    import torch
    from transformers import BertConfig, BertForTokenClassification, BertTokenizerFast

    torch.manual_seed(0)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz.,?-:!'0123456789"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    (folder / "vocab.txt").write_text("\n".join(vocabulary))
    labels = dict(enumerate("0.,?-:"))
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
        id2label=labels,
        label2id={label: number for number, label in labels.items()},
        initializer_range=1.0,
    )
    BertForTokenClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


def test_the_package_s_own_pipeline_keeps_every_word(tmp_path: Path) -> None:
    """700 words of 1 to 9 letters, one sub-word a letter, through a model of 64 tokens: the package itself asserts here."""
    from abaw_pipeline.language import punctuation_model

    engine = punctuation_model.load(tiny_classifier(tmp_path))
    words = said(*["abcdefghi"[: 1 + n * n % 9] for n in range(300)], "café", "\u200d", "a" * 300, "...", "3.5")
    marks = engine(words)
    assert len(marks) == len(words)
    assert len(set(marks)) > 2
    assert engine(words) == marks
    assert engine([]) == []
    with pytest.raises(AssertionError, match="clipped"):
        from deepmultilingualpunctuation import PunctuationModel

        PunctuationModel(model=str(tmp_path)).predict([word["text"] for word in words])


def test_short_texts_get_the_package_s_marks(tmp_path: Path) -> None:
    from deepmultilingualpunctuation import PunctuationModel

    from abaw_pipeline.language import punctuation_model

    spoken = ["so", "i", "said", "to", "her", "that", "it", "is", "a", "good", "day", "and", "she", "left"]
    expected = [label for _, label, _ in PunctuationModel(model=str(tiny_classifier(tmp_path))).predict(spoken)]
    assert punctuation_model.load(tmp_path)(said(*spoken)) == ["" if label == "0" else label for label in expected]


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    from abaw_pipeline.language import punctuation_model

    with pytest.raises(InputError, match="is not a token classification model"):
        punctuation_model.load(tmp_path)


def run(shard: Path, output: Path, **values: Any) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    punctuate.add_arguments(parser)
    punctuate.main(parser.parse_args(["--transcripts", str(shard), "--output", str(output), "--settings", json.dumps(values)]))
    return json.loads(output.read_text())


def test_the_command_keeps_every_video_and_gives_equal_bytes(tmp_path: Path) -> None:
    shard = {
        "engine": "vosk",
        "model": "m",
        "videos": {"a": {"seconds": 3.0, "words": said("hi", "you"), "note": ""}, "b": {"seconds": 0, "words": [], "note": "no sound"}},
    }
    (tmp_path / "in.json").write_text(json.dumps(shard))
    result = run(tmp_path / "in.json", tmp_path / "one.json", engine="pauses")
    run(tmp_path / "in.json", tmp_path / "two.json", engine="pauses")
    assert texts(result["videos"]["a"]["words"]) == ["Hi", "you."]
    assert result["videos"]["b"] == shard["videos"]["b"]
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_file_that_is_no_shard_is_named(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"videos": {"a": {"words": [{"text": "hi"}], "seconds": 1}}}'):
        (tmp_path / "in.json").write_text(text)
        with pytest.raises(InputError, match=r"in\.json"):
            run(tmp_path / "in.json", tmp_path / "out.json", engine="none")
    with pytest.raises(InputError, match=r"absent\.json"):
        run(tmp_path / "absent.json", tmp_path / "out.json", engine="none")
    assert not (tmp_path / "out.json").exists()
