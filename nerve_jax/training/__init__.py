"""Learning. A `Task` says what is learnt; `step` turns its loss into state -> state,
`engine` runs that on all devices for the folds that train together, `feed` gives the
batches, and `loop` goes from the newest checkpoints to the last step. Frames, folds and
sections of the configuration come in; checkpoints and what a task exports go out.
"""
