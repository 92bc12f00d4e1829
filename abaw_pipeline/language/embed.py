"""One vector per word from a BERT-like model: the last layers summed, sub-words averaged, a sentence as context."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer

from abaw_pipeline.atomic import whole_file
from abaw_pipeline.config import Features
from abaw_pipeline.errors import InputError
from abaw_pipeline.language.context import best_piece, pieces
from abaw_pipeline.language.words import read_shard
from abaw_pipeline.models import weights
from abaw_pipeline.progress import Progress

MARKS = ".,?-:!;…"
OVERLAP_SHARE = 0.25
"""Neighbouring pieces of an over-long sentence share this part of the limit."""
FULL_SHARE = 0.25
"""A batch filled to this part takes no longer sentences: padding would cost more than its matrix products could still gain."""
CPU_BATCH_TOKENS = 256
"""On a CPU larger batches are slower: what lies between two layers no longer fits its cache (`benchmarks/language.py`)."""


@dataclass(frozen=True)
class Encoder:
    """A model and its fast tokenizer, in evaluation mode on its device."""

    model: Any
    tokenizer: Any
    device: torch.device
    layers: int
    limit: int
    """Tokens of a piece, without the special ones."""

    @property
    def dim(self) -> int:
        """Features per word."""
        return int(self.model.config.hidden_size)


@dataclass(frozen=True)
class Piece:
    """A run of tokens for one forward pass. `owner` names the word (of all words) that each token counts for; -1: none."""

    tokens: list[int]
    owner: list[int]


def load(folder: Path, layers: int, max_tokens: int) -> Encoder:
    """The model in `folder`, on the GPU when there is one.

    Raises InputError when it is no transformers model, has no fast tokenizer, or has fewer than `layers` layers.
    """
    try:
        # Byte-level tokenizers (RoBERTa) take pre-split words only so; for others the option means nothing.
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, add_prefix_space=True, local_files_only=True)  # type: ignore[no-untyped-call]
        model = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}: is not a model with tokenizer for transformers ({error})") from None
    if not tokenizer.is_fast:
        raise InputError(f"{folder}: has no fast tokenizer (tokenizer.json), which says the word of each token")
    if layers > model.config.num_hidden_layers:
        raise InputError(f"{folder}: has {model.config.num_hidden_layers} layers; features.layers asks for the last {layers}")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    positions = min(max_tokens, getattr(model.config, "max_position_embeddings", max_tokens), tokenizer.model_max_length)
    limit = positions - tokenizer.num_special_tokens_to_add()
    return Encoder(model.eval().to(device), tokenizer, device, layers, limit)


def split_marks(punctuated: str) -> tuple[str, str]:
    """A word and the marks behind it: `Hello,` gives `Hello` and `,`. A word of nothing but marks stays whole."""
    bare = punctuated.rstrip(MARKS)
    return (bare, punctuated[len(bare) :]) if bare else (punctuated, "")


def encode_sentences(encoder: Encoder, sentences: Sequence[Sequence[str]]) -> tuple[list[Piece], int]:
    """Pieces to run for sentences of punctuated words, and how many words had to be cut to fit the limit alone.

    Words are numbered through all sentences. The model sees the marks; only the tokens of the word itself count for it.
    """
    items: list[list[str]] = []
    owners: list[list[int]] = []
    word = 0
    for sentence in sentences:
        parts, owner = [], []
        for punctuated in sentence:
            bare, marks = split_marks(punctuated)
            parts += [bare, marks] if marks else [bare]
            owner += [word, -1] if marks else [word]
            word += 1
        items.append(parts)
        owners.append(owner)
    if not items:
        return [], 0
    # Tokens only; a model's own limit must not cut them here, `pieces` does it with overlap.
    encoded = encoder.tokenizer(items, is_split_into_words=True, add_special_tokens=False, truncation=False, verbose=False)
    special = _special_tokens(encoder)
    result: list[Piece] = []
    clipped = 0
    for number, owner in enumerate(owners):
        tokens_of: list[list[int]] = [[] for _ in owner]
        for token, item in zip(encoded["input_ids"][number], encoded.word_ids(number), strict=True):
            if item is not None:
                tokens_of[item].append(token)
        clipped += sum(len(tokens) > encoder.limit for tokens in tokens_of)
        tokens_of = [tokens[: encoder.limit] for tokens in tokens_of]
        result += _pieces(encoder.limit, special, tokens_of, owner)
    return result, clipped


def _pieces(limit: int, special: tuple[list[int], list[int]], tokens_of: list[list[int]], owner: list[int]) -> Iterator[Piece]:
    """A sentence's pieces: one, or overlapping ones in which a word counts only where it has most context."""
    before, after = special
    sizes = [len(tokens) for tokens in tokens_of]
    spans = pieces(sizes, limit, int(limit * OVERLAP_SHARE))
    best = best_piece(sizes, spans)
    for number, (start, stop) in enumerate(spans):
        tokens, owned = [], []
        for item in range(start, stop):
            tokens += tokens_of[item]
            owned += [owner[item] if best[item] == number else -1] * sizes[item]
        if tokens:
            yield Piece(before + tokens + after, [-1] * len(before) + owned + [-1] * len(after))


def _special_tokens(encoder: Encoder) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and behind a sentence, e.g. [CLS] and [SEP]."""
    example = encoder.tokenizer(["a"], is_split_into_words=True, return_special_tokens_mask=True)
    mask = example["special_tokens_mask"]
    first, last = mask.index(0), len(mask) - mask[::-1].index(0)
    return example["input_ids"][:first], example["input_ids"][last:]


def batches(lengths: Sequence[int], batch_tokens: int) -> list[list[int]]:
    """Item numbers grouped by similar length, shortest first; the longest of a group times its number is at most `batch_tokens`.

    A group that is full enough (`FULL_SHARE`) takes items of its own length only. An item longer than `batch_tokens` is a group of its own.
    """
    groups: list[list[int]] = []
    for item in sorted(range(len(lengths)), key=lambda item: (lengths[item], item)):
        group = groups[-1] if groups else []
        longest = lengths[group[-1]] if group else 0
        full = len(group) * longest >= FULL_SHARE * batch_tokens
        if group and lengths[item] * (len(group) + 1) <= batch_tokens and not (full and lengths[item] > longest):
            group.append(item)
        else:
            groups.append([item])
    return groups


@torch.inference_mode()
def word_vectors(encoder: Encoder, todo: Sequence[Piece], words: int, batch_tokens: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(words, D) vectors, and which words have one: a word of no token (e.g. a lone control character) is zeros."""
    # Summed on the CPU: a GPU adds in no fixed order.
    sums = torch.zeros(words + 1, encoder.dim)
    counts = torch.zeros(words + 1)
    padding = encoder.tokenizer.pad_token_id or 0
    if encoder.device.type == "cpu":
        batch_tokens = min(batch_tokens, CPU_BATCH_TOKENS)
    for group in batches([len(piece.tokens) for piece in todo], batch_tokens):
        longest = max(len(todo[item].tokens) for item in group)
        tokens = torch.tensor([todo[item].tokens + [padding] * (longest - len(todo[item].tokens)) for item in group])
        owner = torch.tensor([todo[item].owner + [-1] * (longest - len(todo[item].owner)) for item in group])
        lengths = torch.tensor([len(todo[item].tokens) for item in group])
        mask = torch.arange(longest)[None, :] < lengths[:, None]
        output = encoder.model(
            input_ids=tokens.to(encoder.device), attention_mask=mask.long().to(encoder.device), output_hidden_states=True
        )
        summed = sum(output.hidden_states[-encoder.layers :]).cpu()
        # The last row takes what counts for no word.
        target = torch.where(owner < 0, words, owner).flatten()
        sums.index_add_(0, target, summed.flatten(0, 1))
        counts.index_add_(0, target, torch.ones(len(target)))
    return (sums[:words] / counts[:words, None].clamp(min=1)).numpy(), (counts[:words] > 0).numpy()


def sentences_of(words: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Punctuated words, by sentence number."""
    return [[word["punctuated"] for word in group] for _, group in groupby(words, key=lambda word: word["sentence"])]


def write_features(
    path: Path,
    settings: Features,
    encoder: Encoder,
    videos: dict[str, Any],
    embedded: dict[str, tuple[NDArray[np.float32], dict[str, int]]],
) -> None:
    """Write a shard: per video a group with words (W, D) float16, word_text, word_time (W, 2), confidence (W), and its counts."""
    with whole_file(path) as aside, h5py.File(aside, "w") as file:
        file.attrs.update({"model": settings.model, "dim": encoder.dim, "layers": encoder.layers})
        for video, content in videos.items():
            words = content["words"]
            vectors, counts = embedded[video]
            group = file.create_group(video)
            group.attrs.update({"note": content.get("note", "")} | counts)
            group.create_dataset("words", data=vectors.astype(np.float16))
            group.create_dataset("word_text", data=[word["text"] for word in words], dtype=h5py.string_dtype(), shape=(len(words),))
            group.create_dataset("word_time", data=np.array([(word["start"], word["end"]) for word in words], np.float64).reshape(-1, 2))
            group.create_dataset("confidence", data=np.array([word["confidence"] for word in words], np.float32))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `embed`."""
    parser.add_argument("--punctuated", type=Path, required=True, help="shard written by `punctuate`")
    parser.add_argument("--output", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--settings", default="{}", help="settings of features, as JSON")


def main(args: argparse.Namespace) -> None:
    """Embed the words of every video of the shard and write one HDF5 file."""
    settings = Features.model_validate_json(args.settings)
    videos = read_shard(args.punctuated, ("text", "start", "end", "confidence", "punctuated", "sentence"))["videos"]
    if args.threads:
        torch.set_num_threads(args.threads)
    encoder = load(weights.find(settings.model), settings.layers, settings.max_tokens)
    embedded = {}
    with Progress("embed", round(sum(content["seconds"] for content in videos.values()), 1), "s") as shown:
        # Video by video, so that a video's vectors do not depend on the others of its shard.
        for video, content in videos.items():
            todo, clipped = encode_sentences(encoder, sentences_of(content["words"]))
            vectors, found = word_vectors(encoder, todo, len(content["words"]), settings.batch_tokens)
            embedded[video] = vectors, {"cut_words": clipped, "zero_words": int((~found).sum())}
            shown.advance(content["seconds"], video)
    write_features(args.output, settings, encoder, videos, embedded)
