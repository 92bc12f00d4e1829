"""Speed of the language stages on one core: the engines alone against our streaming, and word features against one sentence at a time.

    python benchmarks/language.py --wav talk.wav --vosk FOLDER [--features minilm] [--words 4 8 16 32] [--repeat 5]

Times are CPU seconds of this process (best of `--repeat`), so that other work on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import vosk as vosk_package
from transformers import AutoModel, AutoTokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from abaw_pipeline.language import embed, recognise
from abaw_pipeline.language.engines import pocketsphinx, vosk
from abaw_pipeline.models import weights

SAID = """i you we they the a and but so really wonderful terrible happy sad friend place day again think know said because family morning
never always something understand beautiful problem question amazing afraid second people going right good much better"""


def best_of(turns: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Least CPU seconds of each function; they take turns, so that a slow spell of the machine meets all of them."""
    least = dict.fromkeys(turns, float("inf"))
    for _ in range(repeat):
        for name, function in turns.items():
            began = time.process_time()
            function()
            least[name] = min(least[name], time.process_time() - began)
    return least


def recognition(wav: Path, model: str, repeat: int) -> None:
    """Vosk as its own example uses it (a loop over 4,000 samples, final result), and through our engine."""
    vosk_package.SetLogLevel(-1)
    loaded = vosk_package.Model(model)
    ours, sphinx = vosk.load(Path(model)), pocketsphinx.load()
    seconds = recognise.wav_frames(wav) / recognise.RATE

    def alone() -> list[str]:
        recogniser = vosk_package.KaldiRecognizer(loaded, 16000)
        recogniser.SetWords(True)
        results = []
        with wave.open(str(wav)) as file:
            while piece := file.readframes(4000):
                if recogniser.AcceptWaveform(piece):
                    results.append(json.loads(recogniser.Result()))
        return [*results, json.loads(recogniser.FinalResult())]

    times = best_of(
        {
            "vosk alone": alone,
            "vosk, our streaming": lambda: ours("a", recognise.pieces(wav, 0.25)),
            "pocketsphinx": lambda: sphinx("a", recognise.pieces(wav, 0.25)),
        },
        repeat,
    )
    for name, spent in times.items():
        print(f"{name}: {spent:.3f} s for {seconds:.1f} s of sound, {spent / seconds:.4f} of real time")
    print(f"our streaming on top of vosk alone: {100 * (times['vosk, our streaming'] / times['vosk alone'] - 1):+.1f} %")


def features(model: str, repeat: int, lengths: list[int], sentences: int = 300) -> None:
    """Words per second, one sentence at a time as one would write it by hand and with ours, for some lengths of sentence.

    The limit is what is left when only the model's own matrix products are counted, at the rate of its widest over 512 tokens.
    """
    folder = weights.find(model)
    tokenizer, plain = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    encoder = embed.load(folder, 4, 256)
    per_token = 2 * sum(layer.weight.numel() for layer in plain.encoder.modules() if isinstance(layer, torch.nn.Linear))
    product = plain.encoder.layer[0].intermediate.dense
    rows, turned = torch.randn(512, product.in_features), 8

    def one_at_a_time(said: list[list[str]]) -> None:
        for sentence in said:
            encoded = tokenizer(sentence, is_split_into_words=True, return_tensors="pt")
            with torch.no_grad():
                hidden = plain(**encoded, output_hidden_states=True).hidden_states
            summed = (hidden[-1] + hidden[-2] + hidden[-3] + hidden[-4])[0]
            owner = encoded.word_ids()
            [summed[[row for row, of in enumerate(owner) if of == word]].mean(0).numpy() for word in range(len(sentence))]

    def ours(said: list[list[str]]) -> None:
        pieces, _ = embed.encode_sentences(encoder, said)
        embed.word_vectors(encoder, pieces, sum(map(len, said)), 4096)

    @torch.inference_mode()
    def products() -> None:
        for _ in range(turned):
            product(rows)

    rng = random.Random(0)
    for longest in lengths:
        said = [[rng.choice(SAID.split()) for _ in range(rng.randint(1, longest))] for _ in range(sentences)]
        turns = {"one sentence at a time": partial(one_at_a_time, said), "ours": partial(ours, said), "products": products}
        times = best_of(turns, repeat)
        peak = turned * len(rows) * 2 * product.weight.numel() / times.pop("products") / 1e9
        words, alone = sum(map(len, said)), times["one sentence at a time"]
        work = per_token * sum(len(piece.tokens) for piece in embed.encode_sentences(encoder, said)[0]) / 1e9
        each = ", ".join(f"{name} {words / spent:.0f} words/s ({work / spent:.0f} GFLOP/s)" for name, spent in times.items())
        print(f"{model}, sentences of 1 to {longest} words: {each}, {alone / times['ours']:.1f} x", flush=True)
        print(f"    matrix products alone, at {peak:.0f} GFLOP/s: {alone / (work / peak):.1f} x")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wav", type=Path, help="mono 16 kHz speech")
    parser.add_argument("--vosk", help="folder of a Vosk model")
    parser.add_argument("--features", default="minilm", help="model of word features")
    parser.add_argument("--words", type=int, nargs="*", default=[4, 8, 16, 32], help="longest sentences of word features")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.wav and args.vosk:
        recognition(args.wav, args.vosk, args.repeat)
    features(args.features, args.repeat, args.words)


if __name__ == "__main__":
    main()
