"""Speed of the language stages on one core: the engines alone against our streaming, and word features batched or not.

    python benchmarks/language.py --wav talk.wav --vosk FOLDER [--features minilm] [--repeat 5]

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
from pathlib import Path

import torch
import vosk as vosk_package

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


def features(model: str, repeat: int, sentences: int = 300) -> None:
    """Words per second with one sentence per forward pass, and with ours, for some lengths of sentence."""
    encoder = embed.load(weights.find(model), 4, 256)
    rng = random.Random(0)
    for longest in (4, 8, 16, 32):
        said = [[rng.choice(SAID.split()) for _ in range(rng.randint(1, longest))] for _ in range(sentences)]

        def one_at_a_time(said: list[list[str]] = said) -> None:
            for sentence in said:
                pieces, _ = embed.encode_sentences(encoder, [sentence])
                embed.word_vectors(encoder, pieces, len(sentence), 4096)

        def batched(said: list[list[str]] = said) -> None:
            pieces, _ = embed.encode_sentences(encoder, said)
            embed.word_vectors(encoder, pieces, sum(map(len, said)), 4096)

        times = best_of({"one sentence at a time": one_at_a_time, "batched": batched}, repeat)
        words = sum(map(len, said))
        each = ", ".join(f"{name} {words / spent:.0f} words/s" for name, spent in times.items())
        print(f"{model}, sentences of 1 to {longest} words: {each}, {times['one sentence at a time'] / times['batched']:.1f} x")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wav", type=Path, help="mono 16 kHz speech")
    parser.add_argument("--vosk", help="folder of a Vosk model")
    parser.add_argument("--features", default="minilm", help="model of word features")
    parser.add_argument("--repeat", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.wav and args.vosk:
        recognition(args.wav, args.vosk, args.repeat)
    features(args.features, args.repeat)


if __name__ == "__main__":
    main()
