"""Continuous valence and arousal from video: the NTU method for ABAW5 as a pipeline."""

__version__ = "0.1.0"
