"""Data sets as tfds builders, one folder each."""
