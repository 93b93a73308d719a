"""From probabilities to intervals, as pure functions of arrays: `predictor` averages members
and mirror images, `decide` and `calibration` make masks of probabilities, `metrics` and
`surface` count and measure, `scores` makes one row per frame, `summary` and `intervals`
means over frames with their uncertainty over people.
"""
