"""The demo corpus: synthetic people whose faces, voices and words follow a hidden valence and arousal.

`plan` says what there will be, from the settings alone; `write` makes it. What lies between: `person` (hidden state and
traits), `face` (drawing), `script` (words), `voice` (speech) and `troubles` (what is wrong with the corpus, on purpose).
"""
